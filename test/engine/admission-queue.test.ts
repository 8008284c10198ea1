import { afterEach, describe, expect, it, vi } from 'vitest';
import { AdmissionQueue } from '../../src/engine/admission-queue.ts';
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
