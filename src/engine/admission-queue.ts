/**
 * The line in which requests wait: first come, first served, as many at a time as there are contexts; those that are served
 * take turns step by step.
 *
 * Nobody is woken by somebody else: each request looks for itself. In the Workers runtime the work of a request whose
 * client has gone can stop for good at any await, so whatever it held is given up by the clock, not by its `finally`.
 */

import { EngineBusy } from './errors.ts';
import { pause } from './pause.ts';

/** A request that has not shown itself for so long is taken for dead; one that was only slow lines up again. */
const ABANDONED_MS = 10_000;
const LOOK_AGAIN_MS = 2;
/** So often looks who is far behind: a long line must not cost what those who are served need. Short of what anybody notices. */
const LOOK_AGAIN_AT_LEAST_EVERY_MS = 50;

/** So many short completions take a few seconds; whoever waits longer has typed on, or given up. */
export const DEFAULT_MAX_WAITING = 64;

/** A place in the line. */
export interface Ticket {
  lastSeenMs: number;
}

export class AdmissionQueue {
  readonly #maxConcurrent: number;
  readonly #release: (ticket: Ticket) => void;
  readonly #maxWaiting: number;
  #tickets: Ticket[] = [];

  /**
   * Serves `served` tickets at a time and lets `maxWaiting` wait behind them; `release` is called with each ticket that
   * leaves or is taken for dead.
   */
  constructor(maxConcurrent: number, release: (ticket: Ticket) => void, maxWaiting = DEFAULT_MAX_WAITING) {
    this.#maxConcurrent = maxConcurrent;
    this.#release = release;
    this.#maxWaiting = maxWaiting;
  }

  get length(): number {
    return this.#tickets.length;
  }

  /** Tickets that are not served yet. */
  get waiting(): number {
    return Math.max(0, this.#tickets.length - this.#maxConcurrent);
  }

  /** Whether a ticket has a place, served or waiting. */
  includes(ticket: Ticket): boolean {
    return this.#tickets.includes(ticket);
  }

  /** Whether it is among those who are served. */
  isActive(ticket: Ticket): boolean {
    const place = this.#tickets.indexOf(ticket);
    return place >= 0 && place < this.#maxConcurrent;
  }

  /** Throws EngineBusy when as many wait as may. */
  join(): Ticket {
    const nowMs = Date.now();
    // Those who wait look for the dead; when all in the line are dead, nobody else does.
    this.#leaveAbandoned(nowMs);
    if (this.#tickets.length >= this.#maxConcurrent + this.#maxWaiting) throw new EngineBusy(this.waiting);
    const ticket = { lastSeenMs: nowMs };
    this.#tickets.push(ticket);
    return ticket;
  }

  leave(ticket: Ticket): void {
    if (!this.#tickets.includes(ticket)) return;
    this.#tickets = this.#tickets.filter((other) => other !== ticket);
    this.#release(ticket);
  }

  /** Gives way to the event loop until it is this ticket's turn (again). Throws the reason of an abort. */
  async waitTurn(ticket: Ticket, signal: AbortSignal): Promise<void> {
    await pause();
    for (;;) {
      signal.throwIfAborted();
      ticket.lastSeenMs = Date.now();
      if (!this.#tickets.includes(ticket)) this.#tickets.push(ticket);
      this.#leaveAbandoned(ticket.lastSeenMs);
      if (this.isActive(ticket)) return;
      const ahead = this.#tickets.indexOf(ticket) - this.#maxConcurrent + 1;
      await pause(Math.min(LOOK_AGAIN_MS * ahead, LOOK_AGAIN_AT_LEAST_EVERY_MS));
    }
  }

  #leaveAbandoned(nowMs: number): void {
    for (const ticket of this.#tickets) {
      if (nowMs - ticket.lastSeenMs > ABANDONED_MS) this.leave(ticket);
    }
  }
}
