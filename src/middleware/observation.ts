/** What is learned about one request while it is answered; the log, the metrics and Server-Timing are made from it. */
import type { Completion, Engine } from '../engine/types.ts';

/** Sums over the completions of one request. */
export interface Work {
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

/** How one completion ended. */
export type Outcome = Completion['finishReason'] | 'cancelled' | 'failed';

export class Observation {
  /** The engine asked for this request; its line has a length. */
  engine: Engine | undefined;
  /** The backend that answered, when it was not the local model. */
  backend: string | undefined;
  /** Code of the error that ended the answer, also when its status had been sent before. */
  errorCode: string | undefined;
  readonly completions: Completion[] = [];
  readonly outcomes: Outcome[] = [];

  completed(completion: Completion): void {
    this.completions.push(completion);
    this.outcomes.push(completion.finishReason);
  }

  ended(outcome: 'cancelled' | 'failed', errorCode?: string): void {
    this.outcomes.push(outcome);
    this.errorCode ??= errorCode;
  }

  /** The answer is an error. */
  refused(errorCode: string | null): void {
    this.errorCode = errorCode ?? undefined;
  }

  /** Undefined when no completion came to its end. */
  get work(): Work | undefined {
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
