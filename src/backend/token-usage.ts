/** Tokens that a backend reports as read and generated, in the format of OpenAI or Inception. */
import * as z from 'zod';

export interface TokenUsage {
  promptTokens: number;
  cachedTokens: number;
  completionTokens: number;
}

const count = z.int().min(0);

const usage = z.object({
  prompt_tokens: count.catch(0),
  completion_tokens: count.catch(0),
  prompt_tokens_details: z.object({ cached_tokens: count }).optional().catch(undefined),
  cached_input_tokens: count.optional().catch(undefined),
});

const holder = z.object({ usage });

/** The usage in a whole answer or in a chunk of a stream; undefined if it has none. */
export function tokenUsageOf(answer: unknown): TokenUsage | undefined {
  const { data } = holder.safeParse(answer);
  if (data === undefined) return undefined;
  const { prompt_tokens, completion_tokens, prompt_tokens_details, cached_input_tokens } = data.usage;
  return {
    promptTokens: prompt_tokens,
    cachedTokens: prompt_tokens_details?.cached_tokens ?? cached_input_tokens ?? 0,
    completionTokens: completion_tokens,
  };
}
