/**
 * From the text around the cursor to the two context streams. What does not fit is cut on the side far from the cursor, in
 * steps: were it cut to the token, each key stroke would shift the window and nothing of it could be reused.
 */

import type { DenoiserConfig } from '../denoiser/three-stream/config.ts';
import type { Tokenizer } from '../tokenizer/tokenizer.ts';

/** The window moves by this share of its length. */
const WINDOW_STEPS = 8;
/** Text beyond so many characters a token of the window is not tokenized: it would be cut anyway. */
const CHARACTERS_PER_TOKEN = 16;

export interface Prompt {
  /** <|prefix|>, <|endoftext|> if nothing was cut, then the text. */
  prefix: number[];
  /** <|suffix|>, then the text backwards; empty when there is no suffix. */
  suffix: number[];
  /** Tokens that were cut on both sides; those of text that was not tokenized are estimated. */
  truncatedTokens: number;
}

/** @param prefixIds tokens of `prefixText`, where they are given */
export function buildPrompt(
  prefixText: string,
  suffixText: string,
  tokenizer: Tokenizer,
  { prefixTokens, suffixTokens }: Pick<DenoiserConfig['diffusion'], 'prefixTokens' | 'suffixTokens'>,
  prefixIds?: readonly number[],
): Prompt {
  const { special } = tokenizer;

  const unreadPrefix = prefixIds ? 0 : unreadLength(prefixText.length, prefixTokens);
  const prefixRead = prefixIds ?? tokenizer.encode(prefixText.slice(boundary(prefixText, unreadPrefix)));
  const prefixAll = unreadPrefix === 0 ? [special.endOfText, ...prefixRead] : prefixRead;
  const prefixCut = cutLength(prefixAll.length, prefixTokens);

  const unreadSuffix = unreadLength(suffixText.length, suffixTokens);
  const suffixRead = tokenizer.encode(suffixText.slice(0, boundary(suffixText, suffixText.length - unreadSuffix)));
  const suffixCut = cutLength(suffixRead.length, suffixTokens);
  const suffixKept = suffixRead.slice(0, suffixRead.length - suffixCut);

  return {
    prefix: [special.prefix, ...prefixAll.slice(prefixCut)],
    suffix: suffixText === '' ? [] : [special.suffix, ...suffixKept.reverse()],
    truncatedTokens:
      prefixCut +
      estimateTokens(unreadPrefix, prefixRead.length, prefixText.length) +
      suffixCut +
      estimateTokens(unreadSuffix, suffixRead.length, suffixText.length),
  };
}

/** Characters at the far end that are not worth tokenizing, in whole steps. */
function unreadLength(characters: number, tokens: number): number {
  const limit = CHARACTERS_PER_TOKEN * tokens;
  return stepsOver(characters, limit, limit / 2);
}

/** Tokens at the far end that do not fit, in whole steps. */
function cutLength(tokens: number, limit: number): number {
  return Math.min(tokens, stepsOver(tokens, limit, Math.ceil(limit / WINDOW_STEPS)));
}

function stepsOver(length: number, limit: number, step: number): number {
  return Math.ceil(Math.max(0, length - limit) / step) * step;
}

/** The character index, or the one behind if it would split a surrogate pair. */
function boundary(text: string, index: number): number {
  const code = text.charCodeAt(index);
  return code >= 0xdc00 && code <= 0xdfff ? index + 1 : index;
}

function estimateTokens(unread: number, tokensRead: number, characters: number): number {
  return unread === 0 ? 0 : Math.round((unread * tokensRead) / (characters - unread));
}
