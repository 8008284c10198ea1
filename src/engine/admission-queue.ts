/**
 * The queue of requests: first come, first served. Up to `maxConcurrent` of them are active at a time and take turns,
 * one step each.
 *
 * Every request polls for its own turn; none resolves a promise of another one. In the Workers runtime a request whose
 * client has disconnected can stop for good at any await, without its `finally`. Its place is therefore freed by a
 * timeout.
 */

import { EngineBusy } from './errors.ts';
import { pause } from './pause.ts';

/**
 * A request that has not polled for this time is abandoned; one that was only slow joins the queue again at its end.
 */
const ABANDONED_MS = 10_000;
const LOOK_AGAIN_MS = 2;
/** The longest poll interval: a long queue must not take time from active requests. Too short to be noticed. */
const LOOK_AGAIN_AT_LEAST_EVERY_MS = 50;

/** This number of short completions takes a few seconds; a client that waits longer has typed on, or disconnected. */
export const DEFAULT_MAX_WAITING = 64;

/** A place in the queue. */
export interface Ticket {
  lastSeenMs: number;
}

export class AdmissionQueue {
  readonly #maxConcurrent: number;
  readonly #release: (ticket: Ticket) => void;
  readonly #maxWaiting: number;
  #tickets: Ticket[] = [];

  /**
   * Serves `maxConcurrent` tickets at a time and lets `maxWaiting` more wait; `release` is called with each ticket that
   * leaves or is abandoned.
   */
  constructor(maxConcurrent: number, release: (ticket: Ticket) => void, maxWaiting = DEFAULT_MAX_WAITING) {
    this.#maxConcurrent = maxConcurrent;
    this.#release = release;
    this.#maxWaiting = maxWaiting;
  }

  get length(): number {
    return this.#tickets.length;
  }

  /** Tickets that are not active yet. */
  get waiting(): number {
    return Math.max(0, this.#tickets.length - this.#maxConcurrent);
  }

  /** Whether a ticket is in the queue, active or waiting. */
  includes(ticket: Ticket): boolean {
    return this.#tickets.includes(ticket);
  }

  /** Whether the request of a ticket is active. */
  isActive(ticket: Ticket): boolean {
    const place = this.#tickets.indexOf(ticket);
    return place >= 0 && place < this.#maxConcurrent;
  }

  /** Throws EngineBusy when `maxWaiting` requests wait already. */
  join(): Ticket {
    const nowMs = Date.now();
    // Waiting requests remove abandoned ones. When all of them are abandoned, only a new request can.
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

  /** Yields to the event loop at least once, until it is this ticket's turn. Throws the reason of an abort. */
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
