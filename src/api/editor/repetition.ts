/** Endless repetition, and repetition of the line above: typical faults of small models. */
import { type Cursor, hasWord, isBlank, lastLine, linesAbove, type Written } from './lines.ts';

/** Blocks of up to this number of lines are compared. */
const MAX_BLOCK_LINES = 4;
/** A block that occurs this often in a row is unintended. Two equal ones do occur: `case` arms, table rows. */
const BLOCK_REPEATS = 3;

/** Longest phrase that is looked for within a line. */
const MAX_PERIOD = 40;
/** Times that a phrase with a word must occur in a row to be unintended, and characters that it must fill. */
const WORD_REPEATS = 4;
const MIN_WORD_RUN = 24;
/** Numbers repeat: `0x00000000`, `0.0, 0.0, 0.0, 0.0`. */
const MIN_NUMBER_RUN = 40;
/** Phrases from this length on repeat less often; the last one may lack its comma. */
const LONG_PHRASE = 16;
const LONG_PHRASE_REPEATS = 2.9;
/**
 * A limit that cuts a text within a repetition leaves no doubt that it is endless, so less of one is enough: phrases of
 * up to a few lines.
 */
const MAX_CUT_PERIOD = 160;
const CUT_REPEATS = 3;
const LONG_CUT_REPEATS = 2.5;
const MIN_CUT_RUN = 8;
/** `))))))`: deeper nesting than this is not written by hand. */
const BRACKET_REPEATS = 6;
/** A ruler, such as `-----`, where the file has none; and, where it has one, longer than the width of a page. */
const MIN_STRAY_RULER = 12;
const MAX_RULER = 120;
/** A ruler in a string: `print('-' * 40)` is how longer ones are written. */
const MAX_QUOTED_RULER = 80;
/** Of the line before the cursor: a line of minified code is a whole file. */
const MAX_LINE_CONTEXT = 200;

/** What nests or separates, or is never a ruler: `||||||`. */
const NO_RULER = /[()[\]{}<>'"`,;]|^[|&\s]+$/;

const OPENS_COMMENT = /\/\/|\/\*|#|<!--|--|%|"""|^\s*\*/;

/**
 * Where a text has to end because an endless repetition begins: before the line with a repeated phrase, or before a
 * repeated block of lines. The first occurrence is removed as well: it is half of an expression, or also unintended.
 * Undefined if there is none.
 */
export function runawayStart(text: string, { prefix }: Cursor, written: Written = 'whole'): number | undefined {
  const starts = [
    repeatedBlock(text, prefix, written),
    repeatedPhrase(text, prefix, written),
    written === 'cut' ? cutRepetition(text, prefix) : undefined,
  ];
  const found = starts.filter((start) => start !== undefined);
  return found.length > 0 ? Math.min(...found) : undefined;
}

/** Whether the first line of the completion equals the line above it. */
export function repeatsLineAbove(text: string, cursor: Cursor): boolean {
  const lines = linesAbove(cursor);
  const current = lines.at(-1)!;
  const added = text.split('\n');
  const startsNewLine = isBlank(added[0]!) && !isBlank(current);
  const above = startsNewLine ? current : lines.slice(0, -1).findLast((line) => !isBlank(line));
  const first = startsNewLine ? added.slice(1).find((line) => !isBlank(line)) : current + added[0]!;
  if (above === undefined || first === undefined) return false;
  return hasWord(first) && first.trim() === above.trim();
}

function repeatedBlock(text: string, prefix: string, written: Written): number | undefined {
  const own = text.split('\n');
  const lines = [lastLine(prefix) + own[0]!, ...own.slice(1)];
  // A line that is still being generated may become another one.
  if (written === 'begun') lines.pop();
  for (let start = 0; start < lines.length; start++) {
    for (let size = 1; size <= MAX_BLOCK_LINES; size++) {
      const block = lines.slice(start, start + size).join('\n');
      if (!hasWord(block)) continue;
      const repeats = (n: number) => lines.slice(start + n * size, start + (n + 1) * size).join('\n') === block;
      let count = 1;
      while (count < BLOCK_REPEATS && repeats(count)) count++;
      if (count === BLOCK_REPEATS) return own.slice(0, start).join('\n').length;
    }
  }
  return undefined;
}

function repeatedPhrase(text: string, prefix: string, written: Written): number | undefined {
  let start = 0;
  for (const [at, own] of text.split('\n').entries()) {
    const before = at === 0 ? lastLine(prefix).slice(-MAX_LINE_CONTEXT) : '';
    const isWhole = written !== 'begun' || start + own.length < text.length;
    if (hasRunaway(before, own, isWhole)) return Math.max(0, start - 1);
    start += own.length + 1;
  }
  return undefined;
}

/** The start of the line, or of the lines, with the repetition in which a limit cut the text. */
function cutRepetition(text: string, prefix: string): number | undefined {
  const before = lastLine(prefix).slice(-MAX_LINE_CONTEXT);
  const all = before + text;
  for (let period = 1; period <= Math.min(MAX_CUT_PERIOD, all.length / 2); period++) {
    let start = all.length - period;
    while (start > 0 && all[start - 1] === all[start - 1 + period]) start--;
    const length = all.length - start;
    const repeats = period < LONG_PHRASE ? CUT_REPEATS : LONG_CUT_REPEATS;
    if (length < Math.max(repeats * period, MIN_CUT_RUN)) continue;
    const phrase = all.slice(start, start + period);
    const from = Math.max(0, start - before.length);
    // Text before the cursor is intended; rulers and brackets have rules of their own.
    if (!hasWord(phrase) || text.length - from < 2 * period) continue;
    const lineEnd = text.indexOf('\n', from);
    // Phrases of whole lines may begin at the end of the line before.
    if (lineEnd >= 0 && lineEnd < from + period) return lineEnd;
    return Math.max(0, text.lastIndexOf('\n', from));
  }
  return undefined;
}

/** Whether what is added to a line repeats a phrase endlessly; the phrase may have been on the line before. */
function hasRunaway(before: string, added: string, isWhole: boolean): boolean {
  const line = before + added;
  for (let period = 1; period <= MAX_PERIOD; period++) {
    let start = 0;
    for (let at = period; at <= line.length; at++) {
      if (at < line.length && line[at] === line[at - period]) continue;
      // The stretch from `start` to `at` has the period.
      if (at - start > period && isRunaway(line, { start, end: at, period }, before.length, isWhole)) return true;
      start = at - period + 1;
    }
  }
  return false;
}

interface Stretch {
  start: number;
  end: number;
  period: number;
}

function isRunaway(line: string, { start, end, period }: Stretch, cursor: number, isWhole: boolean): boolean {
  const phrase = line.slice(start, start + period);
  const added = end - Math.max(start, cursor);
  if (/\p{L}/u.test(phrase)) {
    const length = end - start;
    // Text before the cursor is intended; it only counts if the repetition continues.
    if (added < Math.min(2 * period, length)) return false;
    if (period >= LONG_PHRASE && length >= LONG_PHRASE_REPEATS * period) return true;
    return length >= Math.max(WORD_REPEATS * period, MIN_WORD_RUN);
  }
  if (hasWord(phrase)) return added >= Math.max(WORD_REPEATS * period, MIN_NUMBER_RUN);
  // Spaces indent and align.
  if (isBlank(phrase)) return false;
  if (NO_RULER.test(phrase)) return added >= BRACKET_REPEATS * period;
  return isStrayRuler(line, { start: Math.max(start, cursor), end, period }, isWhole);
}

/** Rulers occur in comments, on a line of their own, and in strings, which they do not leave open. */
function isStrayRuler(line: string, { start, end, period }: Stretch, isWhole: boolean): boolean {
  const length = end - start;
  if (length < Math.max(MIN_STRAY_RULER, WORD_REPEATS * period)) return false;
  const before = line.slice(0, start);
  if (OPENS_COMMENT.test(before)) return length > MAX_RULER;
  const quote = openQuote(before);
  if (quote === undefined) return hasWord(before) || length > MAX_RULER;
  return length > MAX_QUOTED_RULER || (isWhole && !line.slice(end).includes(quote));
}

/** The quote that a beginning of a line leaves open. */
function openQuote(line: string): string | undefined {
  let quote: string | undefined;
  for (let at = 0; at < line.length; at++) {
    const character = line[at]!;
    if (character === '\\') at++;
    else if (quote !== undefined) quote = character === quote ? undefined : quote;
    else if (character === '"' || character === "'" || character === '`') quote = character;
  }
  return quote;
}
