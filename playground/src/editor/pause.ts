/**
 * How long the editor waits after a key before it asks. Where answers come fast it asks almost at once; where they are
 * slow it waits for a gap between keys, because most answers would come too late for the text that they continue.
 */

/** A key that is held down repeats about every 30 ms: without any pause each repetition would be a request. */
export const MIN_PAUSE_MS = 20;

/** Above this, a completion comes after people have stopped looking for it. */
export const MAX_PAUSE_MS = 400;

/** As long as nothing has been measured. */
export const FIRST_PAUSE_MS = 150;

/** At this share of the latency, the pause adds half of it to the time until the completion shows. */
const SHARE_OF_LATENCY = 0.5;

/** The pause follows a change within a few answers, and one slow answer (a cold start) does not move it. */
const MEASUREMENTS = 5;

export class Pause {
  #latenciesMs: number[] = [];

  /** An answer took this long. */
  answered(latencyMs: number): void {
    this.#latenciesMs = [...this.#latenciesMs, latencyMs].slice(-MEASUREMENTS);
  }

  /** A request was given up after this long. It counts if it already took longer than those that were answered. */
  abandoned(afterMs: number): void {
    if (afterMs > (this.#median() ?? Number.POSITIVE_INFINITY)) this.answered(afterMs);
  }

  get ms(): number {
    const latencyMs = this.#median();
    if (latencyMs === undefined) return FIRST_PAUSE_MS;
    return Math.min(MAX_PAUSE_MS, Math.max(MIN_PAUSE_MS, Math.round(latencyMs * SHARE_OF_LATENCY)));
  }

  #median(): number | undefined {
    const sorted = this.#latenciesMs.toSorted((a, b) => a - b);
    return sorted[Math.floor(sorted.length / 2)];
  }
}
