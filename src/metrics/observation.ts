/** What is learned about one request while it is answered; the log, the metrics and Server-Timing are made from it. */

/** What is observed of the engine: what it runs, and how many requests wait, where it has a queue. */
export interface ObservedEngine {
  readonly waiting?: number;
  readonly model: {
    readonly id: string;
    /** Unix time of its release, in seconds. */
    readonly created: number;
    /** Tokens. */
    readonly contextLength: number;
  };
}

/** Tokens of an answer. */
export interface ObservedTokens {
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly completionTokens: number;
}

/** What is observed of a completion, if its engine reports it. */
export interface ObservedCompletion {
  readonly finishReason: 'stop' | 'length';
  readonly usage: ObservedTokens & {
    readonly steps: number;
    readonly slotEvaluations: number;
    readonly cpuMs: number;
    readonly queueMs?: number;
    readonly prefillMs?: number;
  };
}

/** Sums over the completions of one request. */
export interface WorkTotals {
  promptTokens: number;
  cachedTokens: number;
  completionTokens: number;
  steps: number;
  slotEvaluations: number;
  /** Unknown (undefined) where no completion said it. */
  queueMs: number | undefined;
  prefillMs: number | undefined;
  /** Processor time of the denoising steps. */
  denoiseMs: number | undefined;
}

/** How one completion ended; `aborted` by its client or by the time limit. */
export type CompletionOutcome = ObservedCompletion['finishReason'] | 'aborted' | 'failed';

export class Observation {
  /** The local model that was asked, by the name it is served under. */
  model: string | undefined;
  /** The engine asked for this request; its line has a length. */
  engine: ObservedEngine | undefined;
  /** The backend that answered, when it was not the local model. */
  backend: string | undefined;
  /** Prompt and completion tokens that this backend reports; undefined if it does not. */
  backendUsage: ObservedTokens | undefined;
  /** Code of the error that ended the answer, also when its status had been sent before. */
  errorCode: string | undefined;
  /** Completions that reached their end. */
  readonly completions: ObservedCompletion[] = [];
  readonly #outcomes: CompletionOutcome[] = [];
  #running = 0;

  started(): void {
    this.#running++;
  }

  completed(completion: ObservedCompletion): void {
    this.completions.push(completion);
    this.#end(completion.finishReason);
  }

  ended(outcome: 'aborted' | 'failed', errorCode?: string): void {
    this.errorCode ??= errorCode;
    this.#end(outcome);
  }

  #end(outcome: CompletionOutcome): void {
    this.#running--;
    this.#outcomes.push(outcome);
  }

  /** The outcome of each completion. One that still runs has outlived its answer and is about to be aborted. */
  get outcomes(): readonly CompletionOutcome[] {
    return [...this.#outcomes, ...Array<CompletionOutcome>(this.#running).fill('aborted')];
  }

  /** The answer is an error. */
  refused(errorCode: string | null): void {
    this.errorCode = errorCode ?? undefined;
  }

  /** Undefined if no completion reached its end. */
  get work(): WorkTotals | undefined {
    if (this.completions.length === 0) return undefined;
    const usages = this.completions.map(({ usage }) => usage);
    const sum = (value: (usage: (typeof usages)[number]) => number) =>
      usages.reduce((total, usage) => total + value(usage), 0);
    const sumKnown = (value: (usage: (typeof usages)[number]) => number | undefined) => {
      const known = usages.map(value).filter((ms) => ms !== undefined);
      return known.length > 0 ? known.reduce((total, ms) => total + ms, 0) : undefined;
    };
    return {
      promptTokens: sum((usage) => usage.promptTokens),
      cachedTokens: sum((usage) => usage.cachedTokens),
      completionTokens: sum((usage) => usage.completionTokens),
      steps: sum((usage) => usage.steps),
      slotEvaluations: sum((usage) => usage.slotEvaluations),
      queueMs: sumKnown((usage) => usage.queueMs),
      prefillMs: sumKnown((usage) => usage.prefillMs),
      denoiseMs: sumKnown(({ cpuMs, prefillMs }) => (prefillMs === undefined ? undefined : cpuMs - prefillMs)),
    };
  }
}
