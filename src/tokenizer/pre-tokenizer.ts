/**
 * Splits a text into the pieces that are merged separately: the pre-tokenizers of a `tokenizer.json`, one after the
 * other, each on the pieces of the previous one. So a lookahead never goes beyond a piece.
 * https://huggingface.co/docs/tokenizers/api/pre-tokenizers
 */

import { type PreTokenizerJson, TokenizerError } from './schema.ts';
import { LETTERS, MARKS, NUMBERS, NUMERIC } from './unicode-classes.ts';

/** ByteLevel's own pattern, that of GPT-2. */
const GPT_2 = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

/** `text` in pieces, in order; together they are the text. None of an empty text. */
export type PreTokenizer = (text: string) => string[];

/** The same pattern twice: the classes of Unicode take most of the time, and most source code is ASCII. */
interface Pattern {
  readonly ascii: RegExp;
  readonly unicode: RegExp;
}

const ASCII_TEXT = /^[\0-\x7f]*$/;

/**
 * Throws TokenizerError if a pattern is not a valid regular expression in JavaScript, or bytes are not made of the
 * pieces.
 */
export function buildPreTokenizer(steps: readonly PreTokenizerJson[]): PreTokenizer {
  if (steps.at(-1)?.type !== 'ByteLevel' || steps.slice(0, -1).some(({ type }) => type === 'ByteLevel')) {
    throw new TokenizerError('tokenizer.json: expected ByteLevel as the last pre-tokenizer, and only there');
  }
  const patterns = steps.flatMap((step) => patternOf(step) ?? []);
  return (text) => {
    const build = ASCII_TEXT.test(text) ? 'ascii' : 'unicode';
    let pieces = text === '' ? [] : [text];
    for (const pattern of patterns) {
      const cut: string[] = [];
      for (const piece of pieces) isolate(piece, pattern[build], cut);
      pieces = cut;
    }
    return pieces;
  };
}

function patternOf(step: PreTokenizerJson): Pattern | undefined {
  switch (step.type) {
    case 'Split':
      return compilePattern(step.pattern.Regex);
    case 'Digits': {
      const digits = (members: string) => new RegExp(`[${members}]${step.individual_digits ? '' : '+'}`, 'gu');
      return { ascii: digits(asciiOf(NUMERIC)), unicode: digits(NUMERIC) };
    }
    case 'ByteLevel':
      return step.use_regex ? compilePattern(GPT_2) : undefined;
  }
}

/** Appends the matches of the pattern, and the text between them, to `pieces`. */
function isolate(text: string, pattern: RegExp, pieces: string[]): void {
  let end = 0;
  // Not matchAll: it makes a copy of the pattern for every piece.
  for (let from = 0; from < text.length; ) {
    pattern.lastIndex = from;
    const found = pattern.exec(text);
    if (found === null) break;
    const { index, 0: match } = found;
    from = index + (match.length || (text.codePointAt(index)! > 0xffff ? 2 : 1));
    if (match === '') continue;
    if (index > end) pieces.push(text.slice(end, index));
    pieces.push(match);
    end = from;
  }
  if (end < text.length) pieces.push(text.slice(end));
}

/** Unicode properties of a pattern → their replacement in a character class of JavaScript. */
type Classes = Readonly<Record<string, string>>;

const UNICODE: Classes = {
  // JavaScript's \s and \d mean slightly other sets.
  '\\s': '\\p{White_Space}',
  '\\d': '\\p{Nd}',
  // Which characters are letters depends on the Unicode version of an engine: here it is that of the library.
  '\\p{L}': LETTERS,
  '\\p{M}': MARKS,
  '\\p{N}': NUMBERS,
};

/** What these classes have in ASCII. */
const ASCII: Classes = {
  '\\s': '\\t-\\r ',
  '\\d': '0-9',
  '\\p{L}': asciiOf(LETTERS),
  '\\p{M}': asciiOf(MARKS),
  '\\p{N}': asciiOf(NUMBERS),
};

/** The ranges of `members` that begin in ASCII. */
function asciiOf(members: string): string {
  const ranges = [...members.matchAll(/\\u\{(\w+)\}-\\u\{(\w+)\}/g)];
  return ranges.map(([range, first]) => (Number.parseInt(first!, 16) < 0x80 ? range : '')).join('');
}

/** A pattern of the file, of Oniguruma's dialect, as regular expressions of JavaScript. */
function compilePattern(pattern: string): Pattern {
  try {
    return {
      ascii: new RegExp(translate(pattern, ASCII), 'gu'),
      unicode: new RegExp(translate(pattern, UNICODE), 'gu'),
    };
  } catch (cause) {
    throw new TokenizerError('tokenizer.json: the split pattern is not a JavaScript regular expression', { cause });
  }
}

function translate(pattern: string, classes: Classes): string {
  let isInClass = false;
  return pattern.replace(/\\[pP]\{\w+\}|\\.|[[\]]/gsu, (part) => {
    if (part === '[') isInClass = true;
    if (part === ']') isInClass = false;
    const members = classes[part];
    if (members !== undefined) return isInClass ? members : `[${members}]`;
    const others = classes[part.toLowerCase()] ?? classes[part.replace('\\P', '\\p')];
    if (others === undefined) return part;
    if (!isInClass) return `[^${others}]`;
    // A class of JavaScript can only contain the complement of a property, not of another class.
    const isProperty = others.startsWith('\\p{');
    return isProperty ? others.replace('\\p', '\\P') : part;
  });
}
