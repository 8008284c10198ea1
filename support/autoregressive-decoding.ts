/**
 * Greedy left-to-right decoding on the prefix stream: the next-token model that the same weights are. The baseline that
 * diffusion is measured against, on the same kernels and cache.
 */

import type { Denoiser } from '../src/denoiser/three-stream/denoiser.ts';
import type { KvCache } from '../src/denoiser/three-stream/kv-cache.ts';
import { PREFILL_CHUNK_TOKENS } from '../src/denoiser/transformer/memory.ts';
import type { Predictions } from '../src/denoiser/transformer/predictions.ts';
import type { SpecialTokens } from '../src/tokenizer/tokenizer.ts';

/**
 * Extends `context` by what of `prompt` it lacks and decodes until <|endoftext|> or `maxTokens`. Returns the new
 * tokens, the end not included. The context keeps all but the last of them.
 */
export function decodeAutoregressive(
  denoiser: Denoiser,
  context: KvCache,
  prompt: ArrayLike<number>,
  maxTokens: number,
  special: SpecialTokens,
): number[] {
  // The last token of the prompt is always computed: its prediction is the first new token.
  const last = prompt.length - 1;
  context.truncate(Math.min(context.matchLength(prompt), last));
  while (context.length < last) {
    denoiser.extend(
      context,
      Array.from(prompt).slice(context.length, Math.min(context.length + PREFILL_CHUNK_TOKENS, last)),
    );
  }
  let next = prompt[last]!;
  const tokens: number[] = [];
  while (tokens.length < maxTokens) {
    next = bestOfOneRow(denoiser.extendAndPredict(context, [next]), special);
    if (next === special.endOfText) break;
    tokens.push(next);
  }
  return tokens;
}

/** The end of a middle and what belongs to a canvas have no place in running text. */
function bestOfOneRow({ ids }: Predictions, { mask, pad, eom, prefix, suffix }: SpecialTokens): number {
  return ids.find((id) => ![mask, pad, eom, prefix, suffix].includes(id))!;
}
