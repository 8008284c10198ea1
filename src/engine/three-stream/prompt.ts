/**
 * The prompt of a three-stream model: a marker before each side, the suffix backwards, so that both streams grow at
 * their end.
 */

import type { Tokenizer } from '../../tokenizer/tokenizer.ts';
import { cutToWindow, type Prompt, type WindowLimits } from '../prompt.ts';

/**
 * <|prefix|>, <|endoftext|> if nothing was cut, the text; and <|suffix|>, the text backwards.
 * @param prefixIds tokens of `prefixText`, where they are given
 */
export function buildPrompt(
  prefixText: string,
  suffixText: string,
  tokenizer: Tokenizer,
  limits: WindowLimits,
  prefixIds?: readonly number[],
): Prompt {
  const { special } = tokenizer;
  const text = { prefix: prefixText, suffix: suffixText, ...(prefixIds && { prefixTokens: prefixIds }) };
  const { before, after, truncatedTokens } = cutToWindow(text, tokenizer, limits);
  return {
    prefix: [special.prefix, ...before],
    suffix: suffixText === '' ? [] : [special.suffix, ...after.reverse()],
    truncatedTokens,
  };
}
