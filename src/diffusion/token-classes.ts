/**
 * What the tokens of a vocabulary do to a UTF-8 decoder: those that do the same are one class, so that a canvas is
 * checked by class and not by token. A byte-level vocabulary has some dozens of classes.
 */

import { isEnd, type Tokenizer } from '../tokenizer/tokenizer.ts';
import { BOUNDARY, type CodePoints, DEAD, Utf8Automaton } from './utf8-automaton.ts';

/**
 * Tokens that are never allowed: special ones, ids that the vocabulary lacks, and those with bytes that no text has.
 */
export const NEVER = 0;
/** Tokens that end a text. */
export const END = 1;

/** Line ends of a completion are \n; what asks for others translates them (src/api/completion/line-ends.ts). */
const CARRIAGE_RETURN: CodePoints = [0x0d, 0x0d];

/** Characters that source text rarely has and that editors do not show as they are. */
const UNWANTED: readonly CodePoints[] = [
  // Controls but tab, line feed and form feed; the latter parts sections in some code.
  [0x00, 0x08],
  [0x0b, 0x0b],
  [0x0e, 0x1f],
  [0x7f, 0x9f],
  // Line ends that only some editors know.
  [0x2028, 0x2029],
  // Reorder what is shown (CVE-2021-42574).
  [0x202a, 0x202e],
  [0x2066, 0x2069],
  // The byte order mark, and the replacement character for invalid bytes.
  [0xfeff, 0xfeff],
  [0xfffd, 0xfffd],
];

const UNWANTED_PATTERN = new RegExp(
  `[${UNWANTED.map((range) => range.map((code) => `\\u{${code.toString(16)}}`).join('-')).join('')}]`,
  'u',
);

/**
 * Whether a text has characters that its completion may only have for that reason. A byte order mark at the beginning
 * does not count.
 */
export function hasUnwanted(text: string): boolean {
  return UNWANTED_PATTERN.test(text.startsWith('\ufeff') ? text.slice(1) : text);
}

export class TokenClasses {
  /** States of the decoder; the last one is the state after the end of the text. */
  readonly states: number;
  readonly #classes: Uint8Array; // by token id
  readonly #moves: Int8Array[] = []; // by class, (states)

  /** @param wanted characters that completions rarely have are taken as any others */
  constructor(tokenizer: Tokenizer, wanted: boolean) {
    const automaton = new Utf8Automaton(wanted ? [CARRIAGE_RETURN] : [...UNWANTED, CARRIAGE_RETURN]);
    this.states = automaton.states + 1;
    this.#moves[NEVER] = new Int8Array(this.states).fill(DEAD);
    this.#moves[END] = new Int8Array(this.states).fill(DEAD);
    this.#moves[END][BOUNDARY] = this.ended;
    this.#moves[END][this.ended] = this.ended;

    const known = new Map<string, number>();
    const classOf = (bytes: Uint8Array): number => {
      const moves = this.#movesOf(bytes, automaton);
      if (moves.every((state) => state === DEAD)) return NEVER;
      const key = moves.join();
      const found = known.get(key) ?? this.#moves.push(withEnd(moves, this.ended)) - 1;
      known.set(key, found);
      return found;
    };
    // Nearly all of a vocabulary.
    const ascii = classOf(Uint8Array.of(0x20));
    const isAscii = (byte: number) => byte < 0x80 && automaton.next(BOUNDARY, byte) === BOUNDARY;
    this.#classes = Uint8Array.from({ length: tokenizer.vocabSize }, (_, id) => {
      if (isEnd(id, tokenizer.special)) return END;
      const bytes = tokenizer.bytesOf(id);
      if (bytes.length === 0) return NEVER;
      return bytes.every(isAscii) ? ascii : classOf(bytes);
    });
  }

  /** The state after the end, where nothing is decided any more. */
  get ended(): number {
    return this.states - 1;
  }

  get count(): number {
    return this.#moves.length;
  }

  of(token: number): number {
    return this.#classes[token] ?? NEVER;
  }

  /** The state after a token of a class, or DEAD. */
  next(tokenClass: number, state: number): number {
    return this.#moves[tokenClass]![state]!;
  }

  /** Tokens of each class without some of them. */
  sizes(without: Iterable<number>): Uint32Array {
    const sizes = new Uint32Array(this.count);
    for (const tokenClass of this.#classes) sizes[tokenClass]!++;
    for (const token of new Set(without)) sizes[this.of(token)]!--;
    return sizes;
  }

  #movesOf(bytes: Uint8Array, automaton: Utf8Automaton): Int8Array {
    return Int8Array.from({ length: automaton.states }, (_, from) => {
      let state = from;
      for (const byte of bytes) if (state !== DEAD) state = automaton.next(state, byte);
      return state;
    });
  }
}

/** Anything after the end is dropped. */
function withEnd(moves: Int8Array, ended: number): Int8Array {
  return Int8Array.from([...moves, ended]);
}

const plainClasses = new WeakMap<Tokenizer, TokenClasses>();
const wantedClasses = new WeakMap<Tokenizer, TokenClasses>();

/** The classes of a tokenizer, which are made once. */
export function tokenClassesOf(tokenizer: Tokenizer, wanted: boolean): TokenClasses {
  const made = wanted ? wantedClasses : plainClasses;
  const classes = made.get(tokenizer) ?? new TokenClasses(tokenizer, wanted);
  made.set(tokenizer, classes);
  return classes;
}
