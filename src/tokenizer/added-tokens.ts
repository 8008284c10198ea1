/**
 * Added tokens of a `tokenizer.json` that are found in a text before it is cut and merged, as the `tokenizers` library
 * finds them: the leftmost, and of those the longest. Special ones are not taken out of a text
 * (`encode_special_tokens`), but what spells one is not read as another token either.
 * https://huggingface.co/docs/tokenizers/api/added-tokens
 */

import type { AddedTokenJson } from './schema.ts';

/** `\w` of Unicode (UTS #18, annex C): what a token of whole words must not touch. */
const WORD_CHARACTER = /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]/u;
/** None of them is a surrogate pair. */
const SPACE = /\p{White_Space}/u;

/** A part of a text: an added token, or text without any. */
export type Stretch = { readonly id: number } | { readonly text: string };

export interface AddedToken extends Pick<AddedTokenJson, 'id' | 'content' | 'single_word' | 'lstrip' | 'rstrip'> {
  /** Whether it is left in the text as text. */
  readonly isSpecial: boolean;
}

/** Finds added tokens in texts. Undefined if the vocabulary has none to find: every text is one part. */
export function buildSplitter(tokens: readonly AddedToken[]): ((text: string) => Stretch[]) | undefined {
  if (tokens.every(({ isSpecial }) => isSpecial)) return undefined;
  const byContent = new Map(tokens.map((token) => [token.content, token]));
  const contents = [...byContent.keys()].sort((a, b) => b.length - a.length);
  const pattern = new RegExp(
    contents.map((content) => content.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&')).join('|'),
    'gu',
  );
  return (text) => {
    const stretches: Stretch[] = [];
    let end = 0;
    for (const { index, 0: content } of text.matchAll(pattern)) {
      const token = byContent.get(content)!;
      let start = index;
      let stop = index + content.length;
      if (token.isSpecial || (token.single_word && touchesWord(text, start, stop))) continue;
      if (token.lstrip) while (start > end && SPACE.test(text[start - 1]!)) start--;
      if (token.rstrip) while (stop < text.length && SPACE.test(text[stop]!)) stop++;
      if (start > end) stretches.push({ text: text.slice(end, start) });
      stretches.push({ id: token.id });
      end = stop;
    }
    if (end < text.length) stretches.push({ text: text.slice(end) });
    return stretches;
  };
}

function touchesWord(text: string, start: number, stop: number): boolean {
  // A neighbouring character has at most two UTF-16 units, and half a pair is not a word character.
  const [before, behind] = [[...text.slice(Math.max(0, start - 2), start)].at(-1), [...text.slice(stop, stop + 2)][0]];
  return [before, behind].some((character) => character !== undefined && WORD_CHARACTER.test(character));
}
