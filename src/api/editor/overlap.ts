/** The part of a completion that already follows the cursor. */
import { type Cursor, firstLine, isBlank, lastLine, linesBelow } from './lines.ts';

const CLOSING = { '(': ')', '[': ']', '{': '}' } as const;

/** Characters of a line before the cursor that are compared: a line of minified code is a whole file. */
const MAX_LINE_CONTEXT = 1000;

/** A line does not repeat this much by chance, whatever its brackets and words are. */
const MIN_CERTAIN_REST = 6;

/** The text without what repeats the suffix: the lines below, or the rest of the line of the cursor. */
export function withoutOverlap(text: string, { prefix, suffix }: Cursor): string {
  const cursor = { prefix: lastLine(prefix).slice(-MAX_LINE_CONTEXT), suffix };
  return withoutTail(withoutRestOfLine(withoutLinesBelow(text, cursor), cursor), cursor);
}

/** Cuts before the line from which on the text equals the lines below; its last line may be unfinished. */
function withoutLinesBelow(text: string, cursor: Cursor): string {
  if (!isBlank(firstLine(cursor.suffix))) return text;
  const below = linesBelow(cursor);
  const lines = text.split('\n');
  const whole = [lastLine(cursor.prefix) + lines[0]!, ...lines.slice(1)].map((line) => line.trimEnd());
  for (const [at, line] of whole.entries()) {
    if (isBlank(line) || line !== below[0]) continue;
    const rest = whole.slice(at).filter((other) => !isBlank(other));
    const repeats = rest.every(
      (other, i) => other === below[i] || (i === rest.length - 1 && below[i]?.startsWith(other)),
    );
    if (repeats) return lines.slice(0, at).join('\n');
  }
  return text;
}

/** A model that has not seen where its part ends writes the rest of the line and more: `x); // done` before `);`. */
function withoutRestOfLine(text: string, { prefix, suffix }: Cursor): string {
  const rest = firstLine(suffix).trimEnd();
  if (rest.length >= MIN_CERTAIN_REST && text.endsWith(rest)) return text.slice(0, -rest.length);
  const at = rest === '' ? -1 : text.indexOf(rest);
  if (at < 0 || isWellFormed(lastLine(prefix + text) + rest)) return text;
  const cut = text.slice(0, at);
  return isWellFormed(lastLine(prefix + cut) + rest) ? cut : text;
}

/** Cuts the longest end that the suffix begins with, unless the line needs both: `f(g(x` + `)` + `)`. */
function withoutTail(text: string, { prefix, suffix }: Cursor): string {
  for (let length = Math.min(text.length, suffix.length); length > 0; length--) {
    const overlap = suffix.slice(0, length);
    if (!text.endsWith(overlap)) continue;
    const kept = text.slice(0, -length);
    if (splitsToken(prefix + kept, overlap) || splitsToken(overlap, suffix.slice(length))) continue;
    const pairs = !overlap.includes('\n') && /[()[\]{}"'`]/.test(overlap);
    if (pairs && isWellFormed(lastLine(prefix + text) + firstLine(suffix))) continue;
    return kept;
  }
  return text;
}

/** Whether the boundary of two texts is within a word or an operator: `na|me`, `=|=`. */
function splitsToken(before: string, after: string): boolean {
  const pair = before.slice(-1) + after.slice(0, 1);
  return /^[\p{L}\p{N}_]{2}$/u.test(pair) || /^([=.<>&|+\-*:?!])[=>]$|^([=.<>&|+\-*:?!])\2$/.test(pair);
}

/** Whether a line is complete with its brackets and quotes: every bracket that it closes was opened in it. */
export function isWellFormed(line: string): boolean {
  const open: string[] = [];
  let quote = '';
  // Brackets that begin a line close what earlier lines opened: `} else if (`.
  const start = /^[\s)\]}]*/.exec(line)![0].length;
  for (let at = start; at < line.length; at++) {
    const character = line[at]!;
    if (character === '\\') at++;
    else if (quote !== '') quote = character === quote ? '' : quote;
    else if (character === '"' || character === "'" || character === '`') quote = character;
    else if (character === '(' || character === '[' || character === '{') open.push(CLOSING[character]);
    else if (character === ')' || character === ']' || character === '}') {
      if (open.pop() !== character) return false;
    }
  }
  return quote === '';
}
