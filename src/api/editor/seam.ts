/**
 * White space where a completion begins. A model that does not see what was typed writes the blank or the indentation
 * before the cursor once more; the editor would show both.
 */
import { type Cursor, indentOf, isBlank, lastLine, linesAbove, linesBelow } from './lines.ts';

/** What two blanks in a row set apart: a comment at the end of a line. */
const COMMENT = /^(?:\/\/|\/\*|#|--|<!--|;|%)/;

/** A line after which the next one is further in. */
const OPENS_BLOCK = /[{:]\s*$/;

/** A line that ends a statement: the next one is not further in. */
const ENDS_STATEMENT = /[;}]\s*$/;

/** A line of text or a table, in which blanks are content. */
const PROSE = /^\s*(?:[|*>-]|\d+\.|\/\/|\/\*|#)/;

/** Lines on each side of the cursor that show whether columns are aligned. */
const NEAR_LINES = 8;

/** Characters at the beginning of a completion that repeat the white space before the cursor. */
export function seamLength(text: string, cursor: Cursor): number {
  const blanks = /^[ \t]+/.exec(text)?.[0] ?? '';
  const typed = lastLine(cursor.prefix);
  if (blanks === '' || blanks.length === text.length || typed === '') return 0;
  const repeats = isBlank(typed) ? isIndented(typed, cursor) : isParted(typed, text.slice(blanks.length), cursor);
  return repeats ? blanks.length : 0;
}

/** Whether a line of white space is as far in as the statement above allows. */
function isIndented(typed: string, cursor: Cursor): boolean {
  const above = linesAbove(cursor)
    .slice(0, -1)
    .filter((line) => !isBlank(line));
  const last = above.at(-1);
  if (last === undefined) return false;
  const depth = indentOf(typed) - indentOf(last);
  if (ENDS_STATEMENT.test(last)) return depth >= 0;
  if (!OPENS_BLOCK.test(last)) return false;
  const known = [...above, ...linesBelow(cursor)].map(indentOf).filter((indent) => indent > 0);
  return depth >= (known.length > 0 ? Math.min(...known) : 1);
}

/** Whether the blank before the cursor is all that parts two words of code. */
function isParted(typed: string, next: string, cursor: Cursor): boolean {
  if (!typed.endsWith(' ') || COMMENT.test(next) || PROSE.test(typed) || isQuoted(typed)) return false;
  return !isAligned(typed.length, cursor);
}

/** Whether a line ends within quotes. */
function isQuoted(line: string): boolean {
  const quotes = line.replaceAll(/\\./g, '').match(/["'`]/g) ?? [];
  let open = '';
  for (const quote of quotes) {
    if (open === '') open = quote;
    else if (open === quote) open = '';
  }
  return open !== '';
}

/** Whether a line nearby has several blanks in a row at this column, as columns that are aligned do. */
function isAligned(column: number, cursor: Cursor): boolean {
  const near = [...linesAbove(cursor).slice(0, -1).slice(-NEAR_LINES), ...linesBelow(cursor).slice(0, NEAR_LINES)];
  return near.some((line) =>
    [...line.matchAll(/(?<=\S) {2,}(?=\S)/g)].some(({ 0: run, index }) => {
      return index <= column && column <= index + run.length;
    }),
  );
}
