/**
 * Where the block ends that the cursor is in or has just opened. Indentation shows it in every formatted language,
 * without a parser for each.
 */
import { type Cursor, firstLine, indentOf, isBlank, lastLine, linesAbove, linesBelow } from './lines.ts';

/** A line that begins by closing a block. */
const CLOSES = /^\s*(?:[)\]}]|end\b|<\/)/;
/** A line with only closing brackets: it may end the block of the cursor. */
const ONLY_CLOSES = /^\s*(?:[)\]};,]+|end)\s*$/;
/** A line that opens a block, also after a closed one: `} else {`. */
const OPENS = /(?:[([{:]|=>|\b(?:do|then|else))\s*$/;
/** A further branch of the statement above, at its indentation. */
const CONTINUES = /^\s*(?:else|elif|elsif|except|finally|catch|case|default|rescue|ensure|when)\b/;

/** How the line can begin that closes the scope and belongs to it. */
const MAY_CLOSE = /^\s*[)\]};,e]/;

/** The text up to the end of its scope. */
export function withinScope(text: string, cursor: Cursor): string {
  const lines = text.split('\n');
  return lines.slice(0, scopeEnd(lines, cursor).lines).join('\n');
}

/** Length at which the scope of an unfinished text has ended, whatever follows; undefined while it may continue. */
export function scopeEndOf(text: string, cursor: Cursor): number | undefined {
  const lines = text.split('\n');
  const begun = lines.pop()!;
  const end = scopeEnd(lines, cursor);
  if (end.isKnown) return lines.slice(0, end.lines).join('\n').length;
  // A line further out ends the scope with its first character, unless it is the one that closes it.
  if (lines.length === 0 || isBlank(begun) || MAY_CLOSE.test(begun)) return undefined;
  const further = scopeEnd([...lines, begun], cursor);
  const isFurtherOut = further.base !== undefined && indentOf(begun) < further.base;
  return isFurtherOut && further.isKnown ? lines.join('\n').length : undefined;
}

/**
 * Whether a closing line at the cursor closes nothing: no line above opens at its indentation, and the line below
 * closes the open block.
 */
export function closesNothing(text: string, cursor: Cursor): boolean {
  const typed = lastLine(cursor.prefix);
  if (!isBlank(typed) || !ONLY_CLOSES.test(firstLine(text))) return false;
  const below = linesBelow(cursor)[0];
  if (below === undefined || !CLOSES.test(below)) return false;
  const indent = indentOf(typed + firstLine(text));
  const above = linesAbove(cursor)
    .slice(0, -1)
    .findLast((line) => !isBlank(line) && indentOf(line) <= indent);
  const isOpened = above !== undefined && indentOf(above) === indent && OPENS.test(above);
  return !isOpened;
}

interface ScopeEnd {
  /** Lines that belong to the scope; at least 1 where there are any. */
  lines: number;
  /** No later line belongs to it, whatever its content is. */
  isKnown: boolean;
  /** Indentation of the scope, where there are enough lines to know it. */
  base?: number;
}

function scopeEnd(lines: readonly string[], cursor: Cursor): ScopeEnd {
  const all = { lines: lines.length, isKnown: false };
  if (lines.length === 0) return all;
  const typed = lastLine(cursor.prefix);
  const first = typed + lines[0]!;
  const next = lines.slice(1).find((line) => !isBlank(line));
  if (next === undefined) return all;
  const base = indentOf(isBlank(first) ? next : first);
  // A user who began a line wants its statement: the block that it opens is the scope. Otherwise siblings may follow.
  const openedHere = indentOf(next) > base && !isBlank(typed);
  let afterBlank = false;
  const at = (count: number): ScopeEnd => ({ lines: count, isKnown: true, base });

  for (const [number, line] of lines.entries()) {
    if (number === 0) continue;
    if (isBlank(line)) {
      afterBlank = true;
      continue;
    }
    const indent = indentOf(line);
    if (indent < base) return at(closesScope(line, cursor) ? number + 1 : number);
    if (indent === base) {
      const opensAgain = OPENS.test(line);
      if (CLOSES.test(line)) {
        if (openedHere && !opensAgain) return at(number + 1);
      } else if (!CONTINUES.test(line)) {
        if (openedHere) return at(number);
        // At the top level every statement is a sibling; a blank line is what parts them.
        if (base === 0 && afterBlank && !isBlank(first)) return at(number);
      }
    }
    afterBlank = false;
  }
  return { ...all, base };
}

/** Whether the line closes the block of the cursor and nothing below does so. */
function closesScope(line: string, cursor: Cursor): boolean {
  if (!ONLY_CLOSES.test(line)) return false;
  const below = linesBelow(cursor)[0];
  if (below === undefined || indentOf(below) < indentOf(line)) return true;
  return indentOf(below) === indentOf(line) && !CLOSES.test(below);
}
