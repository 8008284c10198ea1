/**
 * The line in which requests wait: first come, first served, as many at a time as there are contexts; those that are served
 * take turns step by step.
 *
 * Nobody is woken by somebody else: each request looks for itself. In the Workers runtime the work of a request whose
 * client has gone can stop for good at any await, so whatever it held is given up by the clock, not by its `finally`.
 */

import { pause } from './pause.ts';

/** A request that has not shown itself for so long is taken for dead; one that was only slow lines up again. */
const ABANDONED_MS = 10_000;
const LOOK_AGAIN_MS = 2;

/** A place in the line. */
export interface Ticket {
  lastSeenMs: number;
}

export class Line {
  readonly #served: number;
  readonly #release: (ticket: Ticket) => void;
  #tickets: Ticket[] = [];

  /** Serves `served` tickets at a time; `release` is called with each ticket that leaves or is taken for dead. */
  constructor(served: number, release: (ticket: Ticket) => void) {
    this.#served = served;
    this.#release = release;
  }

  get length(): number {
    return this.#tickets.length;
  }

  join(): Ticket {
    const ticket = { lastSeenMs: Date.now() };
    this.#tickets.push(ticket);
    return ticket;
  }

  leave(ticket: Ticket): void {
    if (!this.#tickets.includes(ticket)) return;
    this.#tickets = this.#tickets.filter((other) => other !== ticket);
    this.#release(ticket);
  }

  /** Gives way to the event loop until it is this ticket's turn (again). Throws the reason of an abort. */
  async turn(ticket: Ticket, signal: AbortSignal): Promise<void> {
    await pause();
    for (;;) {
      signal.throwIfAborted();
      ticket.lastSeenMs = Date.now();
      if (!this.#tickets.includes(ticket)) this.#tickets.push(ticket);
      for (const other of this.#tickets) {
        if (ticket.lastSeenMs - other.lastSeenMs > ABANDONED_MS) this.leave(other);
      }
      if (this.#tickets.indexOf(ticket) < this.#served) return;
      await pause(LOOK_AGAIN_MS);
    }
  }
}
