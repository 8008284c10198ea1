import { afterEach, describe, expect, it, vi } from 'vitest';
import type { PrefillChunk, View } from '../../../src/denoiser/three-stream/denoiser.ts';
import type { KvCache } from '../../../src/denoiser/three-stream/kv-cache.ts';
import type { PassPredictions } from '../../../src/denoiser/transformer/predictions.ts';
import { AdmissionQueue, type Ticket } from '../../../src/engine/admission-queue.ts';
import { BatchScheduler, type PassShare, type Step } from '../../../src/engine/three-stream/batch-scheduler.ts';

const MAX_ROWS = 16;
const never = new AbortController().signal;

/** Notes how many canvases and readings each pass had; says of a view its first token. */
function recordingDenoiser() {
  const passes: { views: number[]; reads: number[] }[] = [];
  const pass = (views: readonly View[], reads: readonly PrefillChunk[]) => {
    passes.push({ views: views.map(({ ids }) => ids.length), reads: reads.map(({ ids }) => ids.length) });
    return views.map(({ ids }) => ({ rows: ids[0]! }) as PassPredictions);
  };
  return { passes, denoiser: { maxRows: MAX_ROWS, pass } };
}

function schedulerFor(
  denoiser: ReturnType<typeof recordingDenoiser>['denoiser'],
  maxSteps?: number,
  maxConcurrent = 8,
) {
  const admission = new AdmissionQueue({ maxConcurrent });
  return { admission, scheduler: new BatchScheduler(denoiser, admission, maxSteps) };
}

/** A step over `slots` slots that first reads `unread` tokens, four at a time. */
function stepOf(slots: number, unread = 0) {
  const context = {} as KvCache;
  const seen: { rows: number | undefined; share: PassShare }[] = [];
  let left = unread;
  const step: Step = {
    get unread() {
      return left;
    },
    prepare(rows) {
      if (left > 0) {
        left -= 4;
        return { reads: [{ context, ids: [1, 2, 3, 4] }] };
      }
      if (slots > rows) return undefined;
      return { reads: [], view: { prefix: context, suffix: undefined, ids: Array(slots).fill(slots), width: slots } };
    },
    finish(predictions, share) {
      seen.push({ rows: predictions?.rows, share });
      return predictions !== undefined;
    },
  };
  return { step, seen };
}

describe('BatchScheduler', () => {
  it('should compute the steps of all waiting requests in one pass, and give each its own result', async () => {
    const { passes, denoiser } = recordingDenoiser();
    const { admission, scheduler } = schedulerFor(denoiser);
    const steps = [1, 2, 3].map((slots) => stepOf(slots));
    await Promise.all(steps.map(({ step }) => scheduler.take(step, admission.join(), never)));
    expect(passes).toEqual([{ views: [1, 2, 3], reads: [] }]);
    expect(steps.map(({ seen }) => seen.map(({ rows }) => rows))).toEqual([[1], [2], [3]]);
  });

  it('should compute at most the maximum of steps in one pass', async () => {
    const { passes, denoiser } = recordingDenoiser();
    const { admission, scheduler } = schedulerFor(denoiser, 2);
    await Promise.all([1, 2, 3, 1, 2].map((slots) => scheduler.take(stepOf(slots).step, admission.join(), never)));
    expect(passes.map(({ views }) => views)).toEqual([[1, 2], [3, 1], [2]]);
  });

  it('should leave what does not fit to the next pass, the first first', async () => {
    const { passes, denoiser } = recordingDenoiser();
    const { admission, scheduler } = schedulerFor(denoiser);
    await Promise.all([8, 12, 4, 4].map((slots) => scheduler.take(stepOf(slots).step, admission.join(), never)));
    expect(passes.map(({ views }) => views)).toEqual([[8], [12, 4], [4]]);
  });

  it('should let no request wait forever while others submit steps again and again', async () => {
    const { passes, denoiser } = recordingDenoiser();
    const { admission, scheduler } = schedulerFor(denoiser);
    const again = async (slots: number, times: number) => {
      const ticket = admission.join();
      for (let time = 0; time < times; time++) await scheduler.take(stepOf(slots).step, ticket, never);
      admission.leave(ticket);
    };
    const small = Promise.all([again(8, 20), again(8, 20)]);
    await again(16, 3);
    expect(passes.length).toBeLessThan(12);
    await small;
    expect(passes.filter(({ views }) => views[0] === 16)).toHaveLength(3);
  });

  it('should take several passes for a step that has to read first, and others with it', async () => {
    const { passes, denoiser } = recordingDenoiser();
    const { admission, scheduler } = schedulerFor(denoiser);
    await Promise.all([
      scheduler.take(stepOf(2, 8).step, admission.join(), never),
      scheduler.take(stepOf(3).step, admission.join(), never),
    ]);
    expect(passes).toEqual([
      { views: [3], reads: [4] },
      { views: [], reads: [4] },
      { views: [2], reads: [] },
    ]);
  });

  it('should share the time of a pass by rows', async () => {
    const clock = vi.spyOn(performance, 'now');
    let nowMs = 0;
    clock.mockImplementation(() => {
      nowMs += 3;
      return nowMs;
    });
    const { denoiser } = recordingDenoiser();
    const { admission, scheduler } = schedulerFor(denoiser);
    const [reading, small] = [stepOf(2, 4), stepOf(8)];
    await Promise.all([reading, small].map(({ step }) => scheduler.take(step, admission.join(), never)));
    clock.mockRestore();
    expect(reading.seen[0]!.share).toEqual({ ms: 1, readMs: 1 });
    expect(small.seen[0]!.share).toEqual({ ms: 2, readMs: 0 });
  });

  it('should throw an error only in the request whose step caused it', async () => {
    const { denoiser } = recordingDenoiser();
    const { admission, scheduler } = schedulerFor(denoiser);
    const bad = new Error('bad');
    const failing = (at: keyof Step): Step => ({
      ...stepOf(1).step,
      [at]: () => {
        throw bad;
      },
    });
    const good = stepOf(1);
    const outcomes = await Promise.allSettled(
      [failing('prepare'), good.step, failing('finish'), stepOf(2).step].map((step) =>
        scheduler.take(step, admission.join(), never),
      ),
    );
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'rejected', 'fulfilled']);
    expect(outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason] : []))).toEqual([bad, bad]);
    expect(good.seen).toHaveLength(1);
  });

  it('should throw the reason of an abort and compute the step no more', async () => {
    const { passes, denoiser } = recordingDenoiser();
    const { admission, scheduler } = schedulerFor(denoiser, 1);
    const controller = new AbortController();
    const reason = new Error('gone');
    const first = scheduler.take(stepOf(1).step, admission.join(), never);
    const second = scheduler.take(stepOf(2).step, admission.join(), controller.signal);
    controller.abort(reason);
    await expect(second).rejects.toBe(reason);
    await first;
    await scheduler.take(stepOf(3).step, admission.join(), never);
    expect(passes.map(({ views }) => views)).toEqual([[1], [3]]);
  });

  it('should compute nothing for who waits in the admission or has left it', async () => {
    const { passes, denoiser } = recordingDenoiser();
    const { admission, scheduler } = schedulerFor(denoiser, undefined, 1);
    const tickets: Ticket[] = [admission.join(), admission.join(), admission.join()];
    const waiting = tickets.slice(1).map((ticket, index) => scheduler.take(stepOf(index + 2).step, ticket, never));
    await scheduler.take(stepOf(1).step, tickets[0]!, never);
    expect(passes.map(({ views }) => views)).toEqual([[1]]);
    admission.leave(tickets[0]!);
    await waiting[0];
    admission.leave(tickets[1]!);
    await waiting[1];
    expect(passes.map(({ views }) => views)).toEqual([[1], [2], [3]]);
  });

  describe('with short requests and long ones', () => {
    const READ = 200;

    /** A row takes a millisecond. */
    function timedDenoiser() {
      const recorded = recordingDenoiser();
      let nowMs = 0;
      vi.spyOn(performance, 'now').mockImplementation(() => nowMs);
      const pass: typeof recorded.denoiser.pass = (views, reads) => {
        const rows = [...views, ...reads].reduce((sum, { ids }) => sum + ids.length, 0);
        nowMs += rows;
        return recorded.denoiser.pass(views, reads);
      };
      return { passes: recorded.passes, denoiser: { maxRows: 64, pass }, nowMs: () => nowMs };
    }

    /** Reads as much as a pass has room for. */
    function readerOf(unread: number): Step {
      let left = unread;
      return {
        get unread() {
          return left;
        },
        prepare(rows) {
          const ids = Array<number>(Math.min(left, rows)).fill(1);
          left -= ids.length;
          return ids.length === 0 ? undefined : { reads: [{ context: {} as KvCache, ids }] };
        },
        finish: () => left === 0,
      };
    }

    async function keys(scheduler: BatchScheduler, admission: AdmissionQueue, count: number, steps: number) {
      for (let key = 0; key < count; key++) {
        const ticket = admission.join();
        for (let step = 0; step < steps; step++) await scheduler.take(stepOf(2).step, ticket, never);
        admission.leave(ticket);
      }
    }

    afterEach(() => {
      vi.restoreAllMocks();
    });

    it('should let a key stroke wait for a small part of what another client reads', async () => {
      const { denoiser, nowMs } = timedDenoiser();
      const { admission, scheduler } = schedulerFor(denoiser);
      const reading = scheduler.take(readerOf(READ), admission.join(), never);
      await keys(scheduler, admission, 1, 6);
      expect(nowMs()).toBeLessThan(6 * 2 + 2 * (16 + 2));
      await reading;
    });

    it('should give what is read a share of the time while others type without a pause', async () => {
      const { passes, denoiser, nowMs } = timedDenoiser();
      const { admission, scheduler } = schedulerFor(denoiser);
      const typing = keys(scheduler, admission, 200, 6);
      await scheduler.take(readerOf(READ), admission.join(), never);
      // A third of the time, and the rows of the others in the same passes.
      expect(nowMs()).toBeLessThan(4 * READ);
      expect(nowMs()).toBeGreaterThan(2 * READ);
      expect(Math.max(...passes.flatMap(({ reads }) => reads))).toBe(16);
      await typing;
    });

    it('should read in whole passes when nobody types', async () => {
      const { passes, denoiser } = timedDenoiser();
      const { admission, scheduler } = schedulerFor(denoiser);
      await scheduler.take(readerOf(READ), admission.join(), never);
      expect(passes.map(({ reads }) => reads)).toEqual([[64], [64], [64], [8]]);
    });

    it('should serve a new request before those that have had many passes', async () => {
      const { passes, denoiser } = timedDenoiser();
      const { admission, scheduler } = schedulerFor(denoiser);
      const writing = keys(scheduler, admission, 1, 100);
      while (passes.length < 60) await new Promise((resolve) => setTimeout(resolve, 1));
      const before = passes.length;
      await keys(scheduler, admission, 1, 6);
      const shared = passes.slice(before).filter(({ views }) => views.length > 1);
      expect(shared.length).toBeLessThanOrEqual(4);
      await writing;
      expect(passes.flatMap(({ views }) => views)).toHaveLength(106);
    });
  });
});
