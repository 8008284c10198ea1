/**
 * Batches the steps of several requests into passes of the denoiser. A request submits its next step with `take` and
 * waits for its turn. At a turn, one pass computes all submitted steps whose rows fit; each step keeps its predictions,
 * and its request finds it done at its own next turn. No request resolves a promise of another one, for the reason that
 * admission-queue.ts gives, and none waits for a request whose client has disconnected.
 *
 * A pass gives the same bits as if each step had its own pass, so neither the result of a request nor a limit of its
 * steps depends on other requests. First come, first served: each step is in the next pass that has room for it.
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

/** Work of one request. Both methods are called during the turn of the request that computes the pass. */
export interface Step {
  /** Called when a pass is put together, with the rows that are left; undefined when those are too few. */
  prepare(rows: number): PassPart | undefined;
  /**
   * Called right after a pass with the predictions for its `view`, of which the step has to keep a copy: the next pass
   * overwrites them. True when the step is done; otherwise it takes another pass.
   */
  finish(predictions: PassPredictions | undefined, share: PassShare): boolean;
}

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

  #computePass(): void {
    this.#entries = this.#entries.filter(({ ticket }) => this.#admission.includes(ticket));
    const parts: { entry: Entry; part: PassPart }[] = [];
    let rows = 0;
    for (const entry of this.#entries) {
      // There are as many contexts as requests that are served.
      if (!this.#admission.isActive(entry.ticket)) continue;
      if (parts.length === this.#maxSteps) break;
      const part = attempt(entry, () => entry.step.prepare(this.#denoiser.maxRows - rows));
      if (entry.outcome !== undefined) continue;
      if (part === undefined) break;
      parts.push({ entry, part });
      rows += rowsOf(part).rows;
    }
    if (parts.length === 0) return;
    this.#entries = this.#entries.filter((entry) => !parts.some((part) => part.entry === entry));

    const start = performance.now();
    const views = parts.flatMap(({ part }) => part.view ?? []);
    const predictions = this.#denoiser.pass(
      views,
      parts.flatMap(({ part }) => part.reads),
    );
    // A step that finds nothing more to compute has no rows.
    const msPerRow = (performance.now() - start) / Math.max(1, rows);
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
