/**
 * Times of a completion as llama.cpp reports them: prefill and generation. All are processor time of this request; 0
 * where the clock stands still. `cache_n` is the part of the prompt that was computed for an earlier request.
 */
import type { Usage } from '../../engine/types.ts';

export function timingsOf({ promptTokens, cachedTokens, completionTokens, cpuMs, prefillMs = 0 }: Usage) {
  // Only what was not cached had to be processed.
  const prompt = rates(promptTokens - cachedTokens, prefillMs);
  const predicted = rates(completionTokens, cpuMs - prefillMs);
  return {
    cache_n: cachedTokens,
    prompt_n: prompt.n,
    prompt_ms: prompt.ms,
    prompt_per_token_ms: prompt.perToken,
    prompt_per_second: prompt.perSecond,
    predicted_n: predicted.n,
    predicted_ms: predicted.ms,
    predicted_per_token_ms: predicted.perToken,
    predicted_per_second: predicted.perSecond,
  };
}

function rates(n: number, ms: number) {
  return { n, ms, perToken: n > 0 ? ms / n : 0, perSecond: ms > 0 ? (1000 * n) / ms : 0 };
}
