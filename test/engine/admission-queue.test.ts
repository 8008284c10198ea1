import { afterEach, describe, expect, it, vi } from 'vitest';
import { AdmissionQueue, type Need, type Room } from '../../src/engine/admission-queue.ts';
import { EngineBusy } from '../../src/engine/errors.ts';

const never = new AbortController().signal;

afterEach(() => {
  vi.restoreAllMocks();
});

describe('AdmissionQueue', () => {
  it('should serve in order of arrival, up to the limit at a time', async () => {
    const queue = new AdmissionQueue({ maxConcurrent: 2 });
    const served: number[] = [];
    const tickets = [0, 1, 2, 3].map(() => queue.join());
    const turns = tickets.map((ticket, index) => queue.waitTurn(ticket, never).then(() => served.push(index)));
    await Promise.all(turns.slice(0, 2));
    expect(served).toEqual([0, 1]);
    queue.leave(tickets[1]!);
    await turns[2];
    expect(served).toEqual([0, 1, 2]);
    queue.leave(tickets[0]!);
    await turns[3];
    expect(served).toEqual([0, 1, 2, 3]);
  });

  it('should throw the reason of an abort while waiting', async () => {
    const queue = new AdmissionQueue({ maxConcurrent: 1 });
    queue.join();
    const controller = new AbortController();
    const waiting = queue.waitTurn(queue.join(), controller.signal);
    const reason = new Error('gone');
    controller.abort(reason);
    await expect(waiting).rejects.toBe(reason);
  });

  it('should release a ticket once, when it leaves', () => {
    const release = vi.fn();
    const queue = new AdmissionQueue({ maxConcurrent: 1, release });
    const ticket = queue.join();
    queue.leave(ticket);
    queue.leave(ticket);
    expect(release).toHaveBeenCalledExactlyOnceWith(ticket);
    expect(queue.length).toBe(0);
  });

  it('should skip a ticket that is no longer polled, and queue it again at the end', async () => {
    const now = vi.spyOn(Date, 'now').mockReturnValue(0);
    const release = vi.fn();
    const queue = new AdmissionQueue({ maxConcurrent: 1, release });
    const silent = queue.join();
    await queue.waitTurn(silent, never);
    now.mockReturnValue(20_000);
    const next = queue.join();
    await queue.waitTurn(next, never);
    expect(release).toHaveBeenCalledExactlyOnceWith(silent);

    let back = false;
    const returning = queue.waitTurn(silent, never).then(() => {
      back = true;
    });
    await queue.waitTurn(next, never);
    expect(back).toBe(false);
    queue.leave(next);
    await returning;
    expect(queue.length).toBe(1);
  });

  it('should refuse a request when the queue is full', () => {
    const queue = new AdmissionQueue({ maxConcurrent: 1, maxWaiting: 2 });
    const tickets = [queue.join(), queue.join(), queue.join()];
    expect(queue.waiting).toBe(2);
    expect(() => queue.join()).toThrow(EngineBusy);
    expect(queue.length).toBe(3);
    queue.leave(tickets[0]!);
    expect(queue.waiting).toBe(1);
    expect(() => queue.join()).not.toThrow();
  });

  it('should not count the dead against the bound', () => {
    const now = vi.spyOn(Date, 'now').mockReturnValue(0);
    const queue = new AdmissionQueue({ maxConcurrent: 1, maxWaiting: 1 });
    queue.join();
    queue.join();
    now.mockReturnValue(20_000);
    queue.join();
    expect(queue.length).toBe(1);
  });
});

describe('AdmissionQueue with room for some', () => {
  /** Ten tokens of output fit at a time. Needs that begin with a negative token displace others. */
  const room: Room = {
    fits: (need, active) => [need, ...active].reduce((sum, { output }) => sum + output, 0) <= 10,
    displaces: ({ prefix }) => prefix[0]! < 0,
    patienceMs: () => 1000,
    keep: () => {},
  };
  const need = (output: number, first = 1): Need => ({ prefix: [first, 2, 3, 4], suffix: [], output });

  function queueAt(ms: number) {
    const now = vi.spyOn(Date, 'now').mockReturnValue(ms);
    const queue = new AdmissionQueue({ maxConcurrent: 8, maxWaiting: 8, room });
    /** Polls each ticket once, as if it were this time. */
    const pollAt = async (later: number, tickets: readonly { lastSeenMs: number }[]) => {
      now.mockReturnValue(later);
      for (const ticket of tickets) {
        const controller = new AbortController();
        const turn = queue.waitTurn(ticket as Parameters<typeof queue.waitTurn>[0], controller.signal);
        setTimeout(() => controller.abort(), 5);
        await turn.catch(() => {});
      }
    };
    return { queue, now, pollAt };
  }

  it('should let in as many as fit, and count the others as waiting', async () => {
    const { queue, pollAt } = queueAt(0);
    const [first, second, third] = [queue.join(need(6)), queue.join(need(6, 2)), queue.join(need(4, 3))];
    expect(queue.isActive(first)).toBe(true);
    expect(queue.isActive(second)).toBe(false);
    // It fits beside the first, and the second has not waited long.
    expect(queue.isActive(third)).toBe(true);
    expect(queue.waiting).toBe(1);
    queue.leave(first);
    await pollAt(20, [second]);
    expect(queue.isActive(second)).toBe(true);
  });

  it('should let nobody pass a request that has waited long enough', async () => {
    const { queue, pollAt, now } = queueAt(0);
    const first = queue.join(need(6));
    const large = queue.join(need(8, 2));
    await pollAt(1100, [first, large]);
    now.mockReturnValue(1100);
    const late = queue.join(need(2, 3));
    expect(queue.isActive(late)).toBe(false);
    queue.leave(first);
    expect(queue.isActive(large)).toBe(true);
    expect(queue.isActive(late)).toBe(true);
  });

  it('should serve those who displace nobody first, and one of the others after its patience', async () => {
    const { queue, pollAt, now } = queueAt(0);
    const busy = queue.join(need(1));
    const [one, other] = [queue.join(need(1, -1)), queue.join(need(1, -2))];
    const cached = queue.join(need(1, 5));
    expect([one, other, cached].map((ticket) => queue.isActive(ticket))).toEqual([false, false, true]);
    await pollAt(1100, [busy, one, other]);
    expect([one, other].map((ticket) => queue.isActive(ticket))).toEqual([true, false]);
    // The next one displaces others only after as long again.
    await pollAt(2000, [busy, one, other]);
    expect(queue.isActive(other)).toBe(false);
    await pollAt(2200, [busy, one, other]);
    expect(queue.isActive(other)).toBe(true);
    now.mockReturnValue(2200);
    expect(queue.waiting).toBe(0);
  });

  it('should not idle long while the only request displaces others', async () => {
    const { queue, pollAt } = queueAt(0);
    const only = queue.join(need(1, -1));
    expect(queue.isActive(only)).toBe(false);
    await pollAt(100, [only]);
    expect(queue.isActive(only)).toBe(true);
  });

  it('should keep the place of a client that types on', async () => {
    const { queue, pollAt, now } = queueAt(0);
    const busy = queue.join(need(1));
    const given = queue.join(need(1, -1));
    await pollAt(600, [busy, given]);
    queue.leave(given);
    const again = queue.join(need(1, -1));
    const another = queue.join(need(1, -2));
    expect([again.sinceMs, another.sinceMs]).toEqual([0, 600]);
    await pollAt(1100, [busy, again]);
    expect(queue.isActive(again)).toBe(true);
    now.mockReturnValue(1100);
    expect(queue.isActive(another)).toBe(false);
  });

  it('should let a request hold more than it came for only where the others leave room', () => {
    const { queue } = queueAt(0);
    const [first, second] = [queue.join(need(4)), queue.join(need(4, 2))];
    expect(queue.change(first, need(7))).toBe(false);
    expect(first.need).toEqual(need(4));
    expect(queue.change(first, need(6))).toBe(true);
    expect(first.need).toEqual(need(6));
    queue.leave(second);
    expect(queue.change(first, need(10))).toBe(true);
  });

  it('should keep what a request will begin with as long as it waits', async () => {
    const { queue, pollAt } = queueAt(0);
    const keep = vi.spyOn(room, 'keep');
    queue.join(need(10));
    const [cached, gone] = [queue.join(need(10, 2)), queue.join(need(10, 3))];
    await pollAt(500, [cached, gone]);
    expect(keep).not.toHaveBeenCalled();
    for (const later of [1_100, 1_200, 9_000]) await pollAt(later, [cached]);
    expect(keep.mock.calls).toEqual([[cached.need], [cached.need]]);
  });

  it('should refuse when too many wait for room', () => {
    const { queue } = queueAt(0);
    queue.join(need(10));
    for (let at = 0; at < 8; at++) queue.join(need(10, 2 + at));
    expect(queue.waiting).toBe(8);
    expect(() => queue.join(need(10, 50))).toThrow(EngineBusy);
    expect(queue.waiting).toBe(8);
  });
});
