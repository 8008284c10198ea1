/**
 * The queue of requests: first come, first served. Up to `maxConcurrent` of them are active at a time and take turns,
 * one step each, as far as there is room for what they hold.
 *
 * Room for contexts is scarce where a model is large. A request whose context is still there is served before one that
 * would have to displace what another client types in: reading a context again costs more than dozens of key strokes.
 * A request is passed over only for a time that grows with what it costs, and from then on nobody passes it. A client
 * that types on while it waits takes the place of its former request.
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
/** Looking for the next request compares texts: with many that wait, not at every poll. */
const ADMIT_AGAIN_MS = 10;
/** Well below the time after which a context counts as left. */
const KEEP_AGAIN_MS = 1_000;
/** While nobody is active, a request that would displace others waits this long for one that would not. */
const LINGER_MS = 50;
/** A request given up by its client keeps its place for the next one of the same text. */
const KEEP_PLACE_MS = 5_000;
const MOST_KEPT_PLACES = 64;

/** This number of short completions takes a few seconds; a client that waits longer has typed on, or disconnected. */
export const DEFAULT_MAX_WAITING = 64;

/** What a request holds while it is active: its prompt as tokens, and how many tokens it may write. */
export interface Need {
  readonly prefix: readonly number[];
  readonly suffix: readonly number[];
  readonly output: number;
}

/** What limits which requests are active at once, besides their number. */
export interface Room {
  /** Whether there is room for a request beside active ones. A request alone always fits. */
  fits(need: Need, active: readonly Need[]): boolean;
  /** Whether it would take room from clients that have been served a moment ago. */
  displaces(need: Need): boolean;
  /** Milliseconds for which a request may be passed over, and between two that displace others. */
  patienceMs(need: Need): number;
  /** Called now and then while a request waits: what it will begin with should still be there. */
  keep(need: Need): void;
}

/** A place in the queue. */
export interface Ticket {
  lastSeenMs: number;
  /** When its client began to wait. */
  sinceMs: number;
  /** When its room was last kept. */
  keptMs?: number;
  /** Can change until its turn: how much of a text is read depends on the room that there is then. */
  need?: Need | undefined;
}

export interface AdmissionQueueParts {
  /** Requests that are active at a time. */
  maxConcurrent: number;
  /** Called with each ticket that leaves or is abandoned. */
  release?: (ticket: Ticket) => void;
  /** Requests that may wait besides. */
  maxWaiting?: number | undefined;
  room?: Room;
}

export class AdmissionQueue {
  readonly #maxConcurrent: number;
  readonly #release: (ticket: Ticket) => void;
  readonly #maxWaiting: number;
  readonly #room: Room | undefined;
  #active: Ticket[] = [];
  /** In the order in which they are served if nothing else matters. */
  #waiting: Ticket[] = [];
  #keptPlaces: { need: Need; sinceMs: number; untilMs: number }[] = [];
  #displacedMs = Number.NEGATIVE_INFINITY;
  #lookedMs = Number.NEGATIVE_INFINITY;

  constructor({ maxConcurrent, release = () => {}, maxWaiting = DEFAULT_MAX_WAITING, room }: AdmissionQueueParts) {
    this.#maxConcurrent = maxConcurrent;
    this.#release = release;
    this.#maxWaiting = maxWaiting;
    this.#room = room;
  }

  get length(): number {
    return this.#active.length + this.#waiting.length;
  }

  /** Tickets that are not active yet. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** What the other requests in the queue hold, or will hold. */
  needsBeside(ticket?: Ticket): Need[] {
    return [...this.#active, ...this.#waiting].flatMap((other) => (other === ticket ? [] : (other.need ?? [])));
  }

  /** Whether a ticket is in the queue, active or waiting. */
  includes(ticket: Ticket): boolean {
    return this.#active.includes(ticket) || this.#waiting.includes(ticket);
  }

  /** Whether the request of a ticket is active. */
  isActive(ticket: Ticket): boolean {
    return this.#active.includes(ticket);
  }

  /** Throws EngineBusy when no request may join. */
  checkJoin(): void {
    // Waiting requests remove abandoned ones. When all of them are abandoned, only a new request can.
    this.#leaveAbandoned(Date.now());
    if (this.length >= this.#maxConcurrent + this.#maxWaiting) throw new EngineBusy(this.waiting);
  }

  /** Throws EngineBusy when `maxWaiting` requests wait already. */
  join(need?: Need): Ticket {
    this.checkJoin();
    const nowMs = Date.now();
    const ticket = { lastSeenMs: nowMs, sinceMs: this.#placeFor(need, nowMs), need };
    this.#enqueue(ticket);
    this.#admit(nowMs);
    if (this.waiting > this.#maxWaiting) {
      this.leave(ticket);
      throw new EngineBusy(this.waiting);
    }
    return ticket;
  }

  /** Changes what an active request holds. False when the others leave no room for that: it keeps what it had. */
  change(ticket: Ticket, need: Need): boolean {
    const others = this.#active.flatMap((other) => (other === ticket ? [] : (other.need ?? [])));
    if (this.#room?.fits(need, others) === false) return false;
    ticket.need = need;
    return true;
  }

  leave(ticket: Ticket): void {
    if (!this.includes(ticket)) return;
    if (this.#waiting.includes(ticket)) this.#keepPlace(ticket);
    this.#active = this.#active.filter((other) => other !== ticket);
    this.#waiting = this.#waiting.filter((other) => other !== ticket);
    this.#release(ticket);
    this.#admit(Date.now());
  }

  /** Yields to the event loop at least once, until it is this ticket's turn. Throws the reason of an abort. */
  async waitTurn(ticket: Ticket, signal: AbortSignal): Promise<void> {
    await pause();
    for (;;) {
      signal.throwIfAborted();
      const nowMs = Date.now();
      ticket.lastSeenMs = nowMs;
      const isBack = !this.includes(ticket);
      if (isBack) {
        ticket.sinceMs = nowMs;
        this.#enqueue(ticket);
      }
      this.#leaveAbandoned(nowMs);
      // A clock may be set back.
      if (isBack || Math.abs(nowMs - this.#lookedMs) >= ADMIT_AGAIN_MS) this.#admit(nowMs);
      if (this.isActive(ticket)) return;
      this.#keepRoom(ticket, nowMs);
      const ahead = this.#waiting.indexOf(ticket) + 1;
      await pause(Math.min(LOOK_AGAIN_MS * ahead, LOOK_AGAIN_AT_LEAST_EVERY_MS));
    }
  }

  #keepRoom(ticket: Ticket, nowMs: number): void {
    if (ticket.need === undefined || nowMs - (ticket.keptMs ?? ticket.sinceMs) < KEEP_AGAIN_MS) return;
    ticket.keptMs = nowMs;
    this.#room?.keep(ticket.need);
  }

  /** Its place is after all tickets that began to wait no later. */
  #enqueue(ticket: Ticket): void {
    const next = this.#waiting.findIndex(({ sinceMs }) => sinceMs > ticket.sinceMs);
    this.#waiting.splice(next < 0 ? this.#waiting.length : next, 0, ticket);
  }

  #admit(nowMs: number): void {
    this.#lookedMs = nowMs;
    while (this.#active.length < this.#maxConcurrent) {
      const next = this.#next(nowMs);
      if (next === undefined) return;
      this.#waiting = this.#waiting.filter((other) => other !== next);
      this.#active.push(next);
    }
  }

  #next(nowMs: number): Ticket | undefined {
    const [first] = this.#waiting;
    const room = this.#room;
    if (first === undefined || room === undefined) return first;
    const active = this.#active.flatMap(({ need }) => need ?? []);
    for (const ticket of this.#waiting) {
      const { need, sinceMs } = ticket;
      if (need === undefined) return ticket;
      const displaces = room.displaces(need);
      const waitsMs = nowMs - (displaces ? Math.max(sinceMs, this.#displacedMs) : sinceMs);
      const patienceMs = room.patienceMs(need);
      const isDue = !displaces || waitsMs >= patienceMs || (this.#active.length === 0 && waitsMs >= LINGER_MS);
      if (isDue && room.fits(need, active)) {
        if (displaces) this.#displacedMs = nowMs;
        return ticket;
      }
      // It has waited long enough: nobody passes it any more.
      if (isDue && waitsMs >= patienceMs) return undefined;
    }
    return undefined;
  }

  #keepPlace({ need, sinceMs }: Ticket): void {
    if (need === undefined || this.#room === undefined) return;
    this.#keptPlaces.push({ need, sinceMs, untilMs: Date.now() + KEEP_PLACE_MS });
    if (this.#keptPlaces.length > MOST_KEPT_PLACES) this.#keptPlaces.shift();
  }

  /** When the client of a new request began to wait: now, unless it gave up a request for the same text before. */
  #placeFor(need: Need | undefined, nowMs: number): number {
    this.#keptPlaces = this.#keptPlaces.filter(({ untilMs }) => untilMs > nowMs);
    const at = need ? this.#keptPlaces.findIndex((kept) => isSameText(kept.need, need)) : -1;
    return at < 0 ? nowMs : this.#keptPlaces.splice(at, 1)[0]!.sinceMs;
  }

  #leaveAbandoned(nowMs: number): void {
    for (const ticket of [...this.#active, ...this.#waiting]) {
      if (nowMs - ticket.lastSeenMs > ABANDONED_MS) this.leave(ticket);
    }
  }
}

/** Whether most of what was before the cursor still is. A long prefix may have been cut at its start. */
function isSameText({ prefix: former }: Need, { prefix: now }: Need): boolean {
  let common = 0;
  while (common < former.length && former[common] === now[common]) common++;
  return common > former.length / 2;
}
