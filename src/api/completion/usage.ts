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
    /** Prompt and suffix tokens that did not fit the context; the text far from the cursor goes first. */
    truncated_tokens: number;
    steps: number;
    slot_evaluations: number;
    /** Processor time in milliseconds; 0 where the clock stands still. */
    cpu_ms: number;
    /** Mean log-probability of the emitted tokens; null when there are none. */
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
  const logProbability = sum(completions.map(({ confidence, usage }) => confidence * usage.completionTokens));
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
      confidence: completionTokens > 0 ? logProbability / completionTokens : null,
    },
  };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
