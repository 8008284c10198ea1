/** Lines of source text, as the editor rules see them. */

/** The text on both sides of the cursor. */
export interface Cursor {
  prefix: string;
  suffix: string;
}

/**
 * Whether a text is all that there is of it; all of it, but ended by a limit in the middle; or the beginning of one
 * that is still being written.
 */
export type Written = 'whole' | 'cut' | 'begun';

/** Columns of a tab when indentations are compared; files that mix tabs and spaces mostly mean this. */
const TAB_COLUMNS = 4;

/** Characters on each side of the cursor in which the rules look for lines: more than a completion can repeat. */
const MAX_CONTEXT = 16_384;

export function firstLine(text: string): string {
  const end = text.indexOf('\n');
  return end < 0 ? text : text.slice(0, end);
}

export function lastLine(text: string): string {
  return text.slice(text.lastIndexOf('\n') + 1);
}

export function isBlank(text: string): boolean {
  return text.trim() === '';
}

/** Whether a line has content: a single bracket or ruler may well occur twice. */
export function hasWord(line: string): boolean {
  return /[\p{L}\p{N}]/u.test(line);
}

/** Columns before the first character that is no space. */
export function indentOf(line: string): number {
  let columns = 0;
  for (const character of line) {
    if (character === '\t') columns += TAB_COLUMNS;
    else if (character === ' ') columns++;
    else break;
  }
  return columns;
}

/** Lines after the line of the cursor that are not blank. */
export function linesBelow({ suffix }: Cursor): string[] {
  return suffix
    .slice(0, MAX_CONTEXT)
    .split('\n')
    .slice(1)
    .filter((line) => !isBlank(line))
    .map((line) => line.trimEnd());
}

/** Lines up to the cursor, the last of which is that of the cursor. */
export function linesAbove({ prefix }: Cursor): string[] {
  return prefix.slice(-MAX_CONTEXT).split('\n');
}

/** Whether only one line can be shown: more lines would separate the text after the cursor from its context. */
export function isSingleLine({ suffix }: Cursor): boolean {
  return !isBlank(firstLine(suffix));
}
