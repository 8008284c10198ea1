/**
 * Where a completion before the rest of a word becomes that word: `█ate while` and the completion `state. Then` join
 * after `st`. Tokens do not end there, so that no token of the model begins the text after the cursor. Pure.
 */

const WORD = /[\p{L}\p{M}\p{N}_$]+/gu;
const WORD_AT_START = /^[\p{L}\p{M}\p{N}_$]+/u;
const WORD_AT_END = /[\p{L}\p{M}\p{N}_$]+$/u;

/** Letters that end another word by accident less often than because they are the rest of it. */
const CERTAIN_LETTERS = 3;
/** The same where the text ends with them. */
const CERTAIN_LETTERS_AT_END = 2;

/** The rest of the word that the cursor is in or before; empty if no word follows it. */
function restOfWord(suffix: string): string {
  return WORD_AT_START.exec(suffix)?.[0] ?? '';
}

/**
 * The length at which a text joins the suffix: at the first of its words that ends as the rest of the word does, and
 * that is followed by what follows there, or ends in enough of its letters. Undefined if there is none.
 * @param isWhole false while the text may go on: then its last word may be longer
 */
export function joinOf(text: string, suffix: string, isWhole: boolean): number | undefined {
  const rest = restOfWord(suffix);
  if (rest === '') return undefined;
  for (const { 0: word, index } of text.matchAll(WORD)) {
    const end = index + word.length;
    if (!word.endsWith(rest)) continue;
    const isCertain =
      end === text.length
        ? isWhole && rest.length >= CERTAIN_LETTERS_AT_END
        : rest.length >= CERTAIN_LETTERS || text[end] === suffix[rest.length];
    if (isCertain) return end - rest.length;
  }
  return undefined;
}

/** How much of an unfinished text no later join can cut. */
export function lengthBeforeJoin(text: string, suffix: string): number {
  if (restOfWord(suffix) === '') return text.length;
  return text.length - (WORD_AT_END.exec(text)?.[0].length ?? 0);
}
