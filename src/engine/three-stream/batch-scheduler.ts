/**
 * Batches the steps of several requests into passes of the denoiser. A request submits its next step with `take` and
 * waits for its turn. At a turn, one pass computes all submitted steps whose rows fit; each step keeps its predictions,
 * and its request finds it done at its own next turn. No request resolves a promise of another one, for the reason that
 * admission-queue.ts gives, and none waits for a request whose client has disconnected.
 *
 * A pass gives the same bits as if each step had its own pass, so neither the result of a request nor a limit of its
 * steps depends on other requests.
 *
 * Two levels, first come, first served in each. A key stroke in a text that is in the cache takes few passes of few
 * rows. Requests that read long contexts, or have had many passes, would make each of these passes ten times as long.
 * So while both are there, the long ones get a share of the time, and read less in a pass.
 */

import { type Denoiser, type PrefillChunk, rowsOfView, type View } from '../../denoiser/three-stream/denoiser.ts';
import type { PassPredictions } from '../../denoiser/transformer/predictions.ts';
import type { AdmissionQueue, Ticket } from '../admission-queue.ts';

/** What a step needs of the denoiser now. */
export interface PassPart {
  /** Context that is still missing. */
  reads: readonly PrefillChunk[];
  /** The canvas, when the contexts are complete or are completed by `reads`. */
  view?: View;
}

/** What a step has cost: its share of the time of the pass, by rows. */
export interface PassShare {
  ms: number;
  /** Part of `ms` for `reads`. */
  readMs: number;
}

/** Work of one request. Its members are used during the turn of the request that computes the pass. */
export interface Step {
  /** Tokens of its contexts that are not read yet. */
  readonly unread: number;
  /** Called when a pass is put together, with the rows that are left; undefined when those are too few. */
  prepare(rows: number): PassPart | undefined;
  /**
   * Called right after a pass with the predictions for its `view`, of which the step has to keep a copy: the next pass
   * overwrites them. True when the step is done; otherwise it takes another pass.
   */
  finish(predictions: PassPredictions | undefined, share: PassShare): boolean;
}

/** What a key stroke reads at most: what has been typed, and a few tokens that a change splits otherwise. */
const SHORT_READ_TOKENS = 16;
/** More passes with a canvas than nearly all completions of an editor take. */
const SHORT_REQUEST_PASSES = 40;
/** Of the time, for long requests while there are short ones. */
const LONG_SHARE = 1 / 3;
/** That a long request reads in a pass with short ones. */
const MOST_READ_ROWS = 16;

interface Entry {
  readonly step: Step;
  readonly ticket: Ticket;
  outcome?: { error?: unknown };
}

export class BatchScheduler {
  readonly #denoiser: Pick<Denoiser, 'pass' | 'maxRows'>;
  readonly #admission: AdmissionQueue;
  readonly #maxSteps: number;
  #entries: Entry[] = [];
  readonly #passes = new WeakMap<Ticket, number>();
  /** What long requests have saved of their share, and what a pass with them took last. */
  #longCreditMs = 0;
  #longPassMs = 0;

  /** At most `maxSteps` steps are batched into a pass, if their rows fit; 1 computes each in its own pass. */
  constructor(
    denoiser: Pick<Denoiser, 'pass' | 'maxRows'>,
    admission: AdmissionQueue,
    maxSteps = Number.POSITIVE_INFINITY,
  ) {
    this.#denoiser = denoiser;
    this.#admission = admission;
    this.#maxSteps = maxSteps;
  }

  /** Resolves when the step is done. Throws what it throws, and the reason of an abort. */
  async take(step: Step, ticket: Ticket, signal: AbortSignal): Promise<void> {
    const entry: Entry = { step, ticket };
    this.#entries.push(entry);
    try {
      for (;;) {
        await this.#admission.waitTurn(ticket, signal);
        // A request that was considered abandoned has lost its place.
        if (entry.outcome === undefined && !this.#entries.includes(entry)) this.#entries.push(entry);
        if (entry.outcome === undefined) this.#computePass();
        if (entry.outcome !== undefined) break;
      }
    } finally {
      this.#entries = this.#entries.filter((other) => other !== entry);
    }
    if ('error' in entry.outcome) throw entry.outcome.error;
  }

  #isShort({ step, ticket }: Entry): boolean {
    return step.unread <= SHORT_READ_TOKENS && (this.#passes.get(ticket) ?? 0) < SHORT_REQUEST_PASSES;
  }

  #computePass(): void {
    this.#entries = this.#entries.filter(({ ticket }) => this.#admission.includes(ticket));
    // There are as many contexts as requests that are served.
    const active = this.#entries.filter(({ ticket }) => this.#admission.isActive(ticket));
    // Finding what is unread compares texts, which one request alone need not wait for.
    const short = active.length > 1 ? active.filter((entry) => this.#isShort(entry)) : active;
    const long = active.filter((entry) => !short.includes(entry));
    const parts: { entry: Entry; part: PassPart }[] = [];
    let rows = 0;
    const isMixed = short.length > 0 && long.length > 0;
    const isLongDue = !isMixed || this.#longCreditMs >= this.#longPassMs;
    for (const entry of isLongDue ? [...long, ...short] : short) {
      if (parts.length === this.#maxSteps) break;
      const left = this.#denoiser.maxRows - rows;
      const isLimited = isMixed && entry.step.unread > SHORT_READ_TOKENS;
      const part = attempt(entry, () => entry.step.prepare(isLimited ? Math.min(left, MOST_READ_ROWS) : left));
      if (entry.outcome !== undefined) continue;
      if (part === undefined) break;
      parts.push({ entry, part });
      rows += rowsOf(part).rows;
    }
    if (parts.length === 0) return;
    for (const { entry, part } of parts) {
      if (part.view) this.#passes.set(entry.ticket, (this.#passes.get(entry.ticket) ?? 0) + 1);
    }
    this.#entries = this.#entries.filter((entry) => !parts.some((part) => part.entry === entry));

    const start = performance.now();
    const views = parts.flatMap(({ part }) => part.view ?? []);
    const predictions = this.#denoiser.pass(
      views,
      parts.flatMap(({ part }) => part.reads),
    );
    const passMs = performance.now() - start;
    if (!isMixed) this.#longCreditMs = 0;
    else if (!isLongDue) this.#longCreditMs += (passMs * LONG_SHARE) / (1 - LONG_SHARE);
    else [this.#longCreditMs, this.#longPassMs] = [0, passMs];
    // A step that finds nothing more to compute has no rows.
    const msPerRow = passMs / Math.max(1, rows);
    for (const { entry, part } of parts) {
      const own = rowsOf(part);
      const share = { ms: own.rows * msPerRow, readMs: own.readRows * msPerRow };
      const seen = part.view && predictions[views.indexOf(part.view)];
      if (attempt(entry, () => entry.step.finish(seen, share))) entry.outcome ??= {};
    }
  }
}

function rowsOf({ reads, view }: PassPart): { rows: number; readRows: number } {
  const readRows = reads.reduce((sum, { ids }) => sum + ids.length, 0);
  return { rows: readRows + (view === undefined ? 0 : rowsOfView(view)), readRows };
}

/** An error in the step of one request is thrown there, not in the request that computes the pass. */
function attempt<T>(entry: Entry, piece: () => T): T | undefined {
  try {
    return piece();
  } catch (error) {
    entry.outcome = { error };
    return undefined;
  }
}
