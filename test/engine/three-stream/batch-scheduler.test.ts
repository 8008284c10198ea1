import { describe, expect, it, vi } from 'vitest';
import type { Reading, View } from '../../../src/denoiser/three-stream/denoiser.ts';
import type { ContextStream } from '../../../src/denoiser/three-stream/kv-cache.ts';
import type { Predictions } from '../../../src/denoiser/transformer/predictions.ts';
import { Line, type Ticket } from '../../../src/engine/admission-queue.ts';
import { PassQueue, type PassShare, type Step } from '../../../src/engine/three-stream/batch-scheduler.ts';

const MAX_ROWS = 16;
const never = new AbortController().signal;

/** Notes how many canvases and readings each pass had; says of a view its first token. */
function recordingDenoiser() {
  const passes: { views: number[]; reads: number[] }[] = [];
  const pass = (views: readonly View[], reads: readonly Reading[]) => {
    passes.push({ views: views.map(({ ids }) => ids.length), reads: reads.map(({ ids }) => ids.length) });
    return views.map(({ ids }) => ({ rows: ids[0]! }) as Predictions);
  };
  return { passes, denoiser: { maxRows: MAX_ROWS, pass } };
}

function queueFor(denoiser: ReturnType<typeof recordingDenoiser>['denoiser'], maxSteps?: number, served = 8) {
  const line = new Line(served, () => {});
  return { line, queue: new PassQueue(denoiser, line, maxSteps) };
}

/** A step over `slots` slots that first reads `unread` tokens, four at a time. */
function stepOf(slots: number, unread = 0) {
  const context = {} as ContextStream;
  const seen: { rows: number | undefined; share: PassShare }[] = [];
  let left = unread;
  const step: Step = {
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

describe('PassQueue', () => {
  it('should compute the steps of all who wait in one pass, and tell each its own', async () => {
    const { passes, denoiser } = recordingDenoiser();
    const { line, queue } = queueFor(denoiser);
    const steps = [1, 2, 3].map((slots) => stepOf(slots));
    await Promise.all(steps.map(({ step }) => queue.take(step, line.join(), never)));
    expect(passes).toEqual([{ views: [1, 2, 3], reads: [] }]);
    expect(steps.map(({ seen }) => seen.map(({ rows }) => rows))).toEqual([[1], [2], [3]]);
  });

  it('should compute so many steps in one pass and no more', async () => {
    const { passes, denoiser } = recordingDenoiser();
    const { line, queue } = queueFor(denoiser, 2);
    await Promise.all([1, 2, 3, 1, 2].map((slots) => queue.take(stepOf(slots).step, line.join(), never)));
    expect(passes.map(({ views }) => views)).toEqual([[1, 2], [3, 1], [2]]);
  });

  it('should leave what does not fit to the next pass, the first first', async () => {
    const { passes, denoiser } = recordingDenoiser();
    const { line, queue } = queueFor(denoiser);
    await Promise.all([8, 12, 4, 4].map((slots) => queue.take(stepOf(slots).step, line.join(), never)));
    expect(passes.map(({ views }) => views)).toEqual([[8], [12, 4], [4]]);
  });

  it('should let nobody wait for ever behind steps that come again and again', async () => {
    const { passes, denoiser } = recordingDenoiser();
    const { line, queue } = queueFor(denoiser);
    const again = async (slots: number, times: number) => {
      const ticket = line.join();
      for (let time = 0; time < times; time++) await queue.take(stepOf(slots).step, ticket, never);
      line.leave(ticket);
    };
    const small = Promise.all([again(8, 20), again(8, 20)]);
    await again(16, 3);
    expect(passes.length).toBeLessThan(12);
    await small;
    expect(passes.filter(({ views }) => views[0] === 16)).toHaveLength(3);
  });

  it('should take several passes for a step that has to read first, and others with it', async () => {
    const { passes, denoiser } = recordingDenoiser();
    const { line, queue } = queueFor(denoiser);
    await Promise.all([
      queue.take(stepOf(2, 8).step, line.join(), never),
      queue.take(stepOf(3).step, line.join(), never),
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
    const { line, queue } = queueFor(denoiser);
    const [reading, small] = [stepOf(2, 4), stepOf(8)];
    await Promise.all([reading, small].map(({ step }) => queue.take(step, line.join(), never)));
    clock.mockRestore();
    expect(reading.seen[0]!.share).toEqual({ ms: 1, readMs: 1 });
    expect(small.seen[0]!.share).toEqual({ ms: 2, readMs: 0 });
  });

  it('should throw an error at whose step it came about, and at nobody else', async () => {
    const { denoiser } = recordingDenoiser();
    const { line, queue } = queueFor(denoiser);
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
        queue.take(step, line.join(), never),
      ),
    );
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'rejected', 'fulfilled']);
    expect(outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason] : []))).toEqual([bad, bad]);
    expect(good.seen).toHaveLength(1);
  });

  it('should throw the reason of an abort and compute the step no more', async () => {
    const { passes, denoiser } = recordingDenoiser();
    const { line, queue } = queueFor(denoiser, 1);
    const controller = new AbortController();
    const reason = new Error('gone');
    const first = queue.take(stepOf(1).step, line.join(), never);
    const second = queue.take(stepOf(2).step, line.join(), controller.signal);
    controller.abort(reason);
    await expect(second).rejects.toBe(reason);
    await first;
    await queue.take(stepOf(3).step, line.join(), never);
    expect(passes.map(({ views }) => views)).toEqual([[1], [3]]);
  });

  it('should compute nothing for who waits in the line or has left it', async () => {
    const { passes, denoiser } = recordingDenoiser();
    const { line, queue } = queueFor(denoiser, undefined, 1);
    const tickets: Ticket[] = [line.join(), line.join(), line.join()];
    const waiting = tickets.slice(1).map((ticket, index) => queue.take(stepOf(index + 2).step, ticket, never));
    await queue.take(stepOf(1).step, tickets[0]!, never);
    expect(passes.map(({ views }) => views)).toEqual([[1]]);
    line.leave(tickets[0]!);
    await waiting[0];
    line.leave(tickets[1]!);
    await waiting[1];
    expect(passes.map(({ views }) => views)).toEqual([[1], [2], [3]]);
  });
});
