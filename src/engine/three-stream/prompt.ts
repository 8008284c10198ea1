/**
 * The prompt of a three-stream model: a marker before each side, the suffix in the order in which its stream reads it,
 * so that both streams grow at their end. A shifted model completes the token at the cursor.
 */

import type { NgramWeights } from '../../denoiser/three-stream/config.ts';
import type { SuffixOrder } from '../../denoiser/three-stream/positions.ts';
import { ContextNgrams } from '../../diffusion/context-ngrams.ts';
import { CursorToken, type TokenTable } from '../../diffusion/cursor-token.ts';
import type { Tokenizer } from '../../tokenizer/tokenizer.ts';
import { cutLength, cutToWindow, type Prompt, type PromptText, type WindowLimits } from '../prompt.ts';

/** Bytes of the suffix that a token is compared with: few tokens are longer. */
const SUFFIX_START_BYTES = 8;

/** The prompt of a model: by default the suffix is read backwards. */
export interface PromptShape extends WindowLimits {
  readonly suffixOrder?: SuffixOrder;
  /** Needs `table`. */
  readonly endsBeforeSuffix?: boolean;
  /** Tokens by their bytes, if the token at the cursor is to be completed. */
  readonly table?: TokenTable | undefined;
  /** If n-grams of the text are mixed into the predictions. */
  readonly ngramWeights?: NgramWeights | undefined;
}

/** <|prefix|>, <|endoftext|> if nothing was cut, the text; and <|suffix|>, the text. */
export function buildPrompt(
  { uncutPrefix, ...text }: PromptText,
  tokenizer: Tokenizer,
  { suffixOrder, endsBeforeSuffix = false, table, ngramWeights, ...limits }: PromptShape,
): Prompt {
  const { special } = tokenizer;
  const read = ngramWeights && uncutPrefix !== undefined ? { ...text, uncutPrefix } : text;
  const { before, after, uncut, truncatedTokens } = cutToWindow(read, tokenizer, limits);
  const whole = [special.prefix, ...before];
  const suffixStart = endsBeforeSuffix ? table?.agreeing(startOf(after, tokenizer)) : undefined;
  const ordered = suffixOrder === 'forward' ? after : after.reverse();
  const suffix = text.suffix === '' ? [] : [special.suffix, ...ordered];
  const { kept, begun } = table && !text.prefixTokens ? table.takeOff(whole) : { kept: whole, begun: '' };
  const uncutBefore = uncut.before.slice(0, uncut.before.length - (whole.length - kept.length));
  const ngrams = ngramWeights && new ContextNgrams(uncutBefore, uncut.after, ngramWeights);
  const sides = { suffix, ...(suffixStart && { suffixStart }), ...(ngrams && { ngrams }), truncatedTokens };
  if (table === undefined || begun === '') return { prefix: whole, ...sides };
  const cursor = { token: new CursorToken(begun, table), ids: whole.slice(kept.length) };
  return { prefix: kept, ...sides, cursor };
}

/** The first bytes of a text, a character each. */
function startOf(ids: readonly number[], tokenizer: Tokenizer): string {
  let bytes = '';
  for (const id of ids) {
    if (bytes.length >= SUFFIX_START_BYTES) break;
    bytes += String.fromCharCode(...tokenizer.bytesOf(id));
  }
  return bytes.slice(0, SUFFIX_START_BYTES);
}

/**
 * A prompt cut to what is next to the cursor, in steps of several tokens as the whole one is. The suffix stream reads
 * from the cursor on: what a context has of it already is kept.
 * @param cachedSuffix tokens of the suffix that a context has, the marker included
 */
export function nearPrompt(whole: Prompt, { prefixTokens, suffixTokens }: WindowLimits, cachedSuffix: number): Prompt {
  const cut = cutLength(whole.prefix.length - 1, prefixTokens);
  const suffix = whole.suffix.slice(0, Math.max(1 + suffixTokens, cachedSuffix));
  return {
    ...whole,
    prefix: [...whole.prefix.slice(0, 1), ...whole.prefix.slice(1 + cut)],
    suffix,
    truncatedTokens: whole.truncatedTokens + cut + whole.suffix.length - suffix.length,
  };
}
