/** What a request has cost so far, and whether its budget is spent. */

import type { Prompt } from './prompt.ts';
import type { GenerateRequest, Usage } from './types.ts';

export class UsageMeter {
  steps = 0;
  /** Processor time of the pieces that were measured. */
  cpuMs = 0;
  /** The budget allows no further step. */
  isSpent = false;
  readonly #maxSteps: number;
  readonly #latestMs: number;
  readonly #maxDenoisingMs: number;
  #startedMs: number | undefined;
  #slotEvaluations = 0;
  #prefillMs = 0;
  #cachedTokens: number | undefined;

  /** @param joinedMs when the request arrived */
  constructor(
    {
      maxSteps = Number.POSITIVE_INFINITY,
      deadlineMs = Number.POSITIVE_INFINITY,
      maxDenoisingMs = Number.POSITIVE_INFINITY,
    }: Pick<GenerateRequest, 'maxSteps' | 'deadlineMs' | 'maxDenoisingMs'>,
    joinedMs: number,
  ) {
    this.#maxSteps = maxSteps;
    this.#latestMs = joinedMs + deadlineMs;
    this.#maxDenoisingMs = maxDenoisingMs;
  }

  /** Runs a piece of synchronous work and adds its time. Some runtimes stop the clock between I/O: there it is 0. */
  measure<T>(piece: () => T): T {
    const start = performance.now();
    try {
      return piece();
    } finally {
      this.cpuMs += performance.now() - start;
    }
  }

  /** Runs a part of a measured piece that reads context. */
  measurePrefill<T>(part: () => T): T {
    const start = performance.now();
    try {
      return part();
    } finally {
      this.#notePrefill(performance.now() - start);
    }
  }

  /** Adds a share of a pass that served several requests, of which `readMs` read context. */
  spend(ms: number, readMs: number): void {
    this.cpuMs += ms;
    this.#notePrefill(readMs);
  }

  /**
   * Tokens that are prefilled after the first step were generated in this request, so their time counts as generation.
   */
  #notePrefill(ms: number): void {
    if (this.steps === 0) this.#prefillMs += ms;
  }

  /** Call before each step: the time limit of denoising counts from the first one. */
  start(): void {
    this.#startedMs ??= performance.now();
  }

  /** Counts a step of this many slots. */
  step(slots: number): void {
    this.steps++;
    this.#slotEvaluations += slots;
    const nowMs = performance.now();
    const isLate = nowMs >= this.#latestMs || nowMs - this.#startedMs! >= this.#maxDenoisingMs;
    this.isSpent = isLate || this.steps >= this.#maxSteps;
  }

  /** Records cached tokens; only the first call counts, later ones see what the request itself has computed. */
  noteCached(tokens: number): void {
    this.#cachedTokens ??= tokens;
  }

  usage({ prefix, suffix, cursor, truncatedTokens }: Prompt): Omit<Usage, 'completionTokens'> {
    return {
      promptTokens: prefix.length + (cursor?.ids.length ?? 0) + suffix.length,
      cachedTokens: this.#cachedTokens ?? 0,
      truncatedTokens,
      steps: this.steps,
      slotEvaluations: this.#slotEvaluations,
      cpuMs: this.cpuMs,
      prefillMs: this.#prefillMs,
    };
  }
}
