/**
 * The text around the cursor as tokens, cut to the window that a model reads. What does not fit is cut on the side far
 * from the cursor, in steps of several tokens: if it were cut by single tokens, each key stroke would shift the window
 * and nothing in the cache could be reused.
 */

import type { ContextNgrams } from '../diffusion/context-ngrams.ts';
import type { CursorToken } from '../diffusion/cursor-token.ts';
import type { Tokenizer } from '../tokenizer/tokenizer.ts';
import type { GenerateRequest } from './types.ts';

/** The window moves by this share of its length. */
const WINDOW_STEPS = 8;
/** Text with more characters per token of the window than this is not tokenized: it would be cut anyway. */
const CHARACTERS_PER_TOKEN = 16;

/** What a model reads of a request, in the order in which it reads it; each model has its own markers. */
export interface Prompt {
  prefix: readonly number[];
  /** Empty when there is no suffix. */
  suffix: readonly number[];
  /** The token at the cursor, if the model completes it: its own tokens are not in `prefix`. */
  cursor?: { readonly token: CursorToken; readonly ids: readonly number[] };
  /** Tokens that the text after the cursor can begin with, if the model ends a completion before them. */
  suffixStart?: ReadonlySet<number>;
  /** The text around the cursor, if the model mixes its n-grams into what it predicts. */
  ngrams?: ContextNgrams;
  /** Tokens that were cut on both sides; those of text that was not tokenized are estimated. */
  truncatedTokens: number;
}

/** Both sides of the cursor in reading order, without markers. */
export interface TextWindow {
  /** <|endoftext|> if nothing was cut, then the text. */
  before: number[];
  after: number[];
  /** The same sides before they were cut, as far as they are tokenized. */
  uncut: { before: readonly number[]; after: readonly number[] };
  /** See Prompt. */
  truncatedTokens: number;
}

/** Tokens that a model reads. <|endoftext|> is one of those on the left. */
export interface WindowLimits {
  readonly prefixTokens: number;
  readonly suffixTokens: number;
}

/** The part of a request from which a prompt is built. */
export type PromptText = Pick<GenerateRequest, 'prefix' | 'uncutPrefix' | 'suffix' | 'prefixTokens' | 'ends'>;

export function cutToWindow(
  { prefix, uncutPrefix, suffix, prefixTokens: prefixIds }: PromptText,
  tokenizer: Tokenizer,
  { prefixTokens, suffixTokens }: WindowLimits,
): TextWindow {
  const lastTokens = (text: string) => {
    const unread = unreadLength(text.length, prefixTokens);
    return { unread, ids: tokenizer.encode(text.slice(boundary(text, unread))) };
  };
  const { unread: unreadPrefix, ids: prefixRead } = prefixIds ? { unread: 0, ids: prefixIds } : lastTokens(prefix);
  const prefixAll = unreadPrefix === 0 ? [tokenizer.special.endOfText, ...prefixRead] : prefixRead;
  const prefixCut = cutLength(prefixAll.length, prefixTokens);

  const unreadSuffix = unreadLength(suffix.length, suffixTokens);
  const suffixRead = tokenizer.encode(suffix.slice(0, boundary(suffix, suffix.length - unreadSuffix)));
  const suffixCut = cutLength(suffixRead.length, suffixTokens);

  return {
    before: prefixAll.slice(prefixCut),
    after: suffixRead.slice(0, suffixRead.length - suffixCut),
    uncut: {
      before: uncutPrefix === undefined ? prefixAll : lastTokens(uncutPrefix).ids,
      after: suffixRead,
    },
    truncatedTokens:
      prefixCut +
      estimateTokens(unreadPrefix, prefixRead.length, prefix.length) +
      suffixCut +
      estimateTokens(unreadSuffix, suffixRead.length, suffix.length),
  };
}

/** Characters at the far end that are not worth tokenizing, in whole steps. */
function unreadLength(characters: number, tokens: number): number {
  const limit = CHARACTERS_PER_TOKEN * tokens;
  return stepsOver(characters, limit, limit / 2);
}

/** Tokens at the far end that do not fit, in whole steps. */
export function cutLength(tokens: number, limit: number): number {
  return Math.min(tokens, stepsOver(tokens, limit, Math.ceil(limit / WINDOW_STEPS)));
}

function stepsOver(length: number, limit: number, step: number): number {
  return Math.ceil(Math.max(0, length - limit) / step) * step;
}

/** The character index, or the next one if it would split a surrogate pair. */
function boundary(text: string, index: number): number {
  const code = text.charCodeAt(index);
  return code >= 0xdc00 && code <= 0xdfff ? index + 1 : index;
}

function estimateTokens(unread: number, tokensRead: number, characters: number): number {
  return unread === 0 ? 0 : Math.round((unread * tokensRead) / (characters - unread));
}
