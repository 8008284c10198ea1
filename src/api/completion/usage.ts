/** Token counts in the shape of OpenAI and Inception, with what a diffusion model adds to them. */
import type { Completion } from '../../engine/types.ts';

export interface UsageBody {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
  cached_input_tokens: number;
  reasoning_tokens: number;
  prompt_tokens_details: { cached_tokens: number };
  /** Our own: what was cut from the context, and what the answer cost. */
  quicksilver: {
    /** Prompt and suffix tokens that did not fit the context; the text far from the cursor is cut first. */
    truncated_tokens: number;
    steps: number;
    slot_evaluations: number;
    /** Processor time in milliseconds; 0 where the clock stands still. */
    cpu_ms: number;
    /** Milliseconds of waiting for the first turn; 0 where the clock stands still. */
    queue_ms: number;
    /** See `confidenceOf`; over several choices the mean by tokens. */
    confidence: number | null;
  };
}

/**
 * Adds up the completions of a call, given in the order of their choices.
 * A prompt counts once however many choices it has, as in OpenAI's API.
 */
export function usageOf(completions: readonly Completion[], choicesPerPrompt: number): UsageBody {
  const usages = completions.map(({ usage }) => usage);
  const firstOfPrompt = usages.filter((_, index) => index % choicesPerPrompt === 0);
  const promptTokens = sum(firstOfPrompt.map((usage) => usage.promptTokens));
  const completionTokens = sum(usages.map((usage) => usage.completionTokens));
  const cachedTokens = sum(firstOfPrompt.map((usage) => usage.cachedTokens));
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
    cached_input_tokens: cachedTokens,
    reasoning_tokens: 0,
    prompt_tokens_details: { cached_tokens: cachedTokens },
    quicksilver: {
      truncated_tokens: sum(firstOfPrompt.map((usage) => usage.truncatedTokens)),
      steps: sum(usages.map((usage) => usage.steps)),
      slot_evaluations: sum(usages.map((usage) => usage.slotEvaluations)),
      cpu_ms: sum(usages.map((usage) => usage.cpuMs)),
      queue_ms: sum(usages.map((usage) => usage.queueMs ?? 0)),
      confidence: meanConfidence(completions),
    },
  };
}

/**
 * Mean log-probability (natural logarithm) of the tokens of a text; for an empty text, of the token that ended it. Null
 * if nothing was decided: no token was requested, or the limits left no time for one.
 */
export function confidenceOf({ confidence, usage, ending }: Completion): number | null {
  const isDecided = ending !== undefined && ending.by !== 'max_tokens' && ending.by !== 'budget';
  return usage.completionTokens > 0 || isDecided ? confidence : null;
}

function meanConfidence(completions: readonly Completion[]): number | null {
  const known = completions.filter((completion) => confidenceOf(completion) !== null);
  if (known.length === 0) return null;
  const weights = known.map(({ usage }) => Math.max(1, usage.completionTokens));
  return sum(known.map(({ confidence }, at) => confidence * weights[at]!)) / sum(weights);
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
