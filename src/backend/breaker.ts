/**
 * A circuit breaker: after several failures a backend gets no requests for some time, then a single one as a probe. It
 * counts in its own isolate; isolates share nothing.
 */

export interface BreakerOptions {
  /** Failures in a row that open the circuit. */
  failures: number;
  /** How long it stays open before a probe; also how long a probe that never reports keeps others out. */
  openMs: number;
  now?: () => number;
}

/** Leave to send one request, and where to report how it ended. */
export interface Permit {
  succeeded(): void;
  failed(): void;
  /** The request gave no information on the backend, for example because its client left: another probe may be sent. */
  abandoned(): void;
}

export class Breaker {
  readonly #options: Required<BreakerOptions>;
  #failures = 0;
  /** Requests are turned away until then; undefined while the circuit is closed. */
  #openUntilMs: number | undefined;

  constructor(options: BreakerOptions) {
    this.#options = { now: Date.now, ...options };
  }

  /** A permit, or undefined while the circuit is open. When the pause is over one request is let through as a probe. */
  admit(): Permit | undefined {
    if (this.waitMs() > 0) return undefined;
    const isProbe = this.#openUntilMs !== undefined;
    if (isProbe) this.#pause();
    return {
      succeeded: () => this.#close(),
      failed: () => this.#fail(),
      abandoned: () => {
        if (isProbe && this.#openUntilMs !== undefined) this.#openUntilMs = this.#options.now();
      },
    };
  }

  /** Milliseconds until the next probe; 0 when a request may be sent. */
  waitMs(): number {
    return this.#openUntilMs === undefined ? 0 : Math.max(0, this.#openUntilMs - this.#options.now());
  }

  #close(): void {
    this.#failures = 0;
    this.#openUntilMs = undefined;
  }

  #fail(): void {
    this.#failures++;
    if (this.#failures >= this.#options.failures) this.#pause();
  }

  #pause(): void {
    this.#openUntilMs = this.#options.now() + this.#options.openMs;
  }
}
