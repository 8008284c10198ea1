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
export type PreTokenizer = (text: string) => Iterable<string>;

/**
 * Throws TokenizerError if a pattern is not a valid regular expression in JavaScript, or bytes are not made of the
 * pieces.
 */
export function buildPreTokenizer(steps: readonly PreTokenizerJson[]): PreTokenizer {
  if (steps.at(-1)?.type !== 'ByteLevel' || steps.slice(0, -1).some(({ type }) => type === 'ByteLevel')) {
    throw new TokenizerError('tokenizer.json: expected ByteLevel as the last pre-tokenizer, and only there');
  }
  const patterns = steps.flatMap((step) => patternOf(step) ?? []);
  return patterns.reduceRight<PreTokenizer>(
    (cutFurther, pattern) =>
      function* (text) {
        for (const piece of isolate(text, pattern)) yield* cutFurther(piece);
      },
    (text) => (text === '' ? [] : [text]),
  );
}

function patternOf(step: PreTokenizerJson): RegExp | undefined {
  switch (step.type) {
    case 'Split':
      return compilePattern(step.pattern.Regex);
    case 'Digits':
      return new RegExp(`[${NUMERIC}]${step.individual_digits ? '' : '+'}`, 'gu');
    case 'ByteLevel':
      return step.use_regex ? compilePattern(GPT_2) : undefined;
  }
}

/** The matches of the pattern, and the text between them. */
function* isolate(text: string, pattern: RegExp): Generator<string> {
  let end = 0;
  // Not matchAll: it makes a copy of the pattern for every piece.
  for (let from = 0; from < text.length; ) {
    pattern.lastIndex = from;
    const found = pattern.exec(text);
    if (found === null) break;
    const { index, 0: match } = found;
    from = index + (match.length || (text.codePointAt(index)! > 0xffff ? 2 : 1));
    if (match === '') continue;
    if (index > end) yield text.slice(end, index);
    yield match;
    end = from;
  }
  if (end < text.length) yield text.slice(end);
}

/** Unicode properties of a pattern → their replacement in a character class of JavaScript. */
const CLASSES: Readonly<Record<string, string>> = {
  // JavaScript's \s and \d mean slightly other sets.
  '\\s': '\\p{White_Space}',
  '\\d': '\\p{Nd}',
  // Which characters are letters depends on the Unicode version of an engine: here it is that of the library.
  '\\p{L}': LETTERS,
  '\\p{M}': MARKS,
  '\\p{N}': NUMBERS,
};

/** A pattern of the file, of Oniguruma's dialect, as a regular expression of JavaScript. */
function compilePattern(pattern: string): RegExp {
  let isInClass = false;
  const unicode = pattern.replace(/\\[pP]\{\w+\}|\\.|[[\]]/gsu, (part) => {
    if (part === '[') isInClass = true;
    if (part === ']') isInClass = false;
    const members = CLASSES[part];
    if (members !== undefined) return isInClass ? members : `[${members}]`;
    const others = CLASSES[part.toLowerCase()] ?? CLASSES[part.replace('\\P', '\\p')];
    if (others === undefined) return part;
    if (!isInClass) return `[^${others}]`;
    // A class of JavaScript can only contain the complement of a property, not of another class.
    return others.startsWith('\\p') ? others.replace('\\p', '\\P') : part;
  });
  try {
    return new RegExp(unicode, 'gu');
  } catch (cause) {
    throw new TokenizerError('tokenizer.json: the split pattern is not a JavaScript regular expression', { cause });
  }
}
