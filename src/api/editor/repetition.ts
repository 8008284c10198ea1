/** Repetition that has lost its way, and repetition of the line above: what small models fall into. */
import { type Cursor, hasWord, isBlank } from './lines.ts';

/** Blocks of up to so many lines are compared. */
const MAX_BLOCK_LINES = 4;
/** A block that stands so often in a row was not meant. Two alike do happen: `case` arms, table rows. */
const BLOCK_REPEATS = 3;
/** Characters that a repeated phrase of one line must fill: `0x00000000` and `0, 0, 0, 0` are code. */
const MIN_PHRASE_RUN = 24;
/** `))))))`: deeper nesting than this is not written by hand. */
const MIN_BRACKET_RUN = 6;

/** The text up to the end of the first unit of a runaway repetition, of lines or within a line. */
export function withoutRunaway(text: string): string {
  return withoutRepeatedPhrase(withoutRepeatedBlock(text));
}

/** Whether the first line of the completion says what the line above it says. */
export function repeatsLineAbove(text: string, { prefix }: Cursor): boolean {
  const lines = prefix.split('\n');
  const current = lines.at(-1)!;
  const added = text.split('\n');
  const startsNewLine = isBlank(added[0]!) && !isBlank(current);
  const above = startsNewLine ? current : lines.slice(0, -1).findLast((line) => !isBlank(line));
  const first = startsNewLine ? added.slice(1).find((line) => !isBlank(line)) : current + added[0]!;
  if (above === undefined || first === undefined) return false;
  return hasWord(first) && first.trim() === above.trim();
}

function withoutRepeatedBlock(text: string): string {
  const lines = text.split('\n');
  for (let start = 0; start < lines.length; start++) {
    for (let size = 1; size <= MAX_BLOCK_LINES; size++) {
      const block = lines.slice(start, start + size).join('\n');
      if (!hasWord(block)) continue;
      const repeats = (n: number) => lines.slice(start + n * size, start + (n + 1) * size).join('\n') === block;
      let count = 1;
      while (count < BLOCK_REPEATS && repeats(count)) count++;
      if (count === BLOCK_REPEATS) return lines.slice(0, start + size).join('\n');
    }
  }
  return text;
}

function withoutRepeatedPhrase(text: string): string {
  for (const { 0: run, 1: phrase, index } of text.matchAll(/([^\n]{1,24}?)\1{3,}/g)) {
    if (!isRunaway(run, phrase!)) continue;
    // A text that begins with it and says no word has nothing to keep.
    const before = text.slice(0, index);
    return isBlank(before) && !hasWord(phrase!) ? '' : before + phrase;
  }
  return text;
}

function isRunaway(run: string, phrase: string): boolean {
  if (hasWord(phrase)) return run.length >= MIN_PHRASE_RUN;
  // Spaces indent; `-----` and the like are rulers.
  return /[()[\]{}<>'"`,;]/.test(phrase) && run.length >= MIN_BRACKET_RUN * phrase.length;
}
