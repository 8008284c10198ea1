import { afterEach, describe, expect, it, vi } from 'vitest';
import { Line } from '../../src/engine/admission-queue.ts';
import { EngineBusy } from '../../src/engine/errors.ts';

const never = new AbortController().signal;

afterEach(() => {
  vi.restoreAllMocks();
});

describe('Line', () => {
  it('should serve in order of arrival, so many at a time', async () => {
    const line = new Line(2, () => {});
    const served: number[] = [];
    const tickets = [0, 1, 2, 3].map(() => line.join());
    const turns = tickets.map((ticket, index) => line.turn(ticket, never).then(() => served.push(index)));
    await Promise.all(turns.slice(0, 2));
    expect(served).toEqual([0, 1]);
    line.leave(tickets[1]!);
    await turns[2];
    expect(served).toEqual([0, 1, 2]);
    line.leave(tickets[0]!);
    await turns[3];
    expect(served).toEqual([0, 1, 2, 3]);
  });

  it('should throw the reason of an abort while waiting', async () => {
    const line = new Line(1, () => {});
    line.join();
    const controller = new AbortController();
    const waiting = line.turn(line.join(), controller.signal);
    const reason = new Error('gone');
    controller.abort(reason);
    await expect(waiting).rejects.toBe(reason);
  });

  it('should release a ticket once, when it leaves', () => {
    const release = vi.fn();
    const line = new Line(1, release);
    const ticket = line.join();
    line.leave(ticket);
    line.leave(ticket);
    expect(release).toHaveBeenCalledExactlyOnceWith(ticket);
    expect(line.length).toBe(0);
  });

  it('should pass over a ticket that nobody shows any more, and take it back at the end', async () => {
    const now = vi.spyOn(Date, 'now').mockReturnValue(0);
    const release = vi.fn();
    const line = new Line(1, release);
    const silent = line.join();
    await line.turn(silent, never);
    now.mockReturnValue(20_000);
    const next = line.join();
    await line.turn(next, never);
    expect(release).toHaveBeenCalledExactlyOnceWith(silent);

    let back = false;
    const returning = line.turn(silent, never).then(() => {
      back = true;
    });
    await line.turn(next, never);
    expect(back).toBe(false);
    line.leave(next);
    await returning;
    expect(line.length).toBe(1);
  });

  it('should refuse whoever comes when as many wait as may', () => {
    const line = new Line(1, () => {}, 2);
    const tickets = [line.join(), line.join(), line.join()];
    expect(line.waiting).toBe(2);
    expect(() => line.join()).toThrow(EngineBusy);
    expect(line.length).toBe(3);
    line.leave(tickets[0]!);
    expect(line.waiting).toBe(1);
    expect(() => line.join()).not.toThrow();
  });

  it('should not count the dead against the bound', () => {
    const now = vi.spyOn(Date, 'now').mockReturnValue(0);
    const line = new Line(1, () => {}, 1);
    line.join();
    line.join();
    now.mockReturnValue(20_000);
    line.join();
    expect(line.length).toBe(1);
  });
});
