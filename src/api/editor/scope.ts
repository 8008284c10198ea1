/**
 * Where the block ends that the cursor is in or has just opened. Indentation says it in every language that people
 * format, without a parser for each.
 */
import { type Cursor, indentOf, isBlank, lastLine, linesBelow } from './lines.ts';

/** A line that begins by closing a block. */
const CLOSES = /^\s*(?:[)\]}]|end\b|<\/)/;
/** A line of nothing but closing: it may end what the cursor is in. */
const ONLY_CLOSES = /^\s*(?:[)\]};,]+|end)\s*$/;
/** A line that opens a block, also behind a closed one: `} else {`. */
const OPENS = /(?:[([{:]|=>|\b(?:do|then|else))\s*$/;
/** A further branch of the statement above, at its indentation. */
const CONTINUES = /^\s*(?:else|elif|elsif|except|finally|catch|case|default|rescue|ensure|when)\b/;

/** The text up to the end of its scope. */
export function withinScope(text: string, cursor: Cursor): string {
  const lines = text.split('\n');
  const end = scopeEnd(lines, cursor);
  return lines.slice(0, end).join('\n');
}

/** Number of lines that belong to the scope; at least 1. */
function scopeEnd(lines: readonly string[], cursor: Cursor): number {
  const typed = lastLine(cursor.prefix);
  const first = typed + lines[0]!;
  const next = lines.slice(1).find((line) => !isBlank(line));
  if (next === undefined) return lines.length;
  const base = indentOf(isBlank(first) ? next : first);
  // Somebody who began a line wants its statement: the block it opens is the scope. Siblings may follow otherwise.
  const openedHere = indentOf(next) > base && !isBlank(typed);
  let afterBlank = false;

  for (const [at, line] of lines.entries()) {
    if (at === 0) continue;
    if (isBlank(line)) {
      afterBlank = true;
      continue;
    }
    const indent = indentOf(line);
    if (indent < base) return closesScope(line, cursor) ? at + 1 : at;
    if (indent === base) {
      const opensAgain = OPENS.test(line);
      if (CLOSES.test(line)) {
        if (openedHere && !opensAgain) return at + 1;
      } else if (!CONTINUES.test(line)) {
        if (openedHere) return at;
        // At the top level every statement is a sibling; a blank line is what parts them.
        if (base === 0 && afterBlank && !isBlank(first)) return at;
      }
    }
    afterBlank = false;
  }
  return lines.length;
}

/** Whether the line closes the block of the cursor and nothing below does so. */
function closesScope(line: string, cursor: Cursor): boolean {
  if (!ONLY_CLOSES.test(line)) return false;
  const below = linesBelow(cursor)[0];
  if (below === undefined || indentOf(below) < indentOf(line)) return true;
  return indentOf(below) === indentOf(line) && !CLOSES.test(below);
}
