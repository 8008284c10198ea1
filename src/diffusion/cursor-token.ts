/**
 * The token at the cursor: its characters are removed from the prompt, and it is completed by tokens that agree with
 * them (training/evaluation/cursor_token.py). After `cons` a model has only ever seen what follows a whole word. So the
 * last tokens are removed, from the earliest place at which the remaining text may be the beginning of one token. The
 * first slots then only accept tokens that agree with the removed bytes: a token that begins with all remaining bytes,
 * or a token that the remaining bytes begin with, after which the rest binds the next slot. This is exact: every
 * continuation is still possible. Pure.
 */

import type { Tokenizer } from '../tokenizer/tokenizer.ts';

/** The tokens of text by their bytes; a byte is a character here, so that strings compare as bytes do. */
export class TokenTable {
  readonly #bytes: readonly (string | undefined)[]; // by id; undefined for special tokens
  readonly #ids: readonly number[]; // of tokens of text, in the order of their bytes
  readonly #longest: number;

  constructor(tokenizer: Tokenizer) {
    const bytesOf = (id: number) => String.fromCharCode(...tokenizer.bytesOf(id));
    this.#bytes = Array.from({ length: tokenizer.vocabSize }, (_, id) => bytesOf(id) || undefined);
    this.#ids = [...this.#bytes.keys()]
      .filter((id) => this.#bytes[id])
      .sort((a, b) => compare(this.#bytes[a]!, this.#bytes[b]!) || a - b);
    this.#longest = this.#bytes.reduce((longest, bytes) => Math.max(longest, bytes?.length ?? 0), 0);
  }

  /** Bytes that a token adds to a text. */
  lengthOf(id: number): number {
    return this.#bytes[id]?.length ?? 0;
  }

  /** The tokens that agree with the bytes: those that begin with all of them, and those that they begin with. */
  agreeing(bytes: string): ReadonlySet<number> {
    const found = new Set<number>();
    for (let length = 1; length <= bytes.length; length++) {
      const isWhole = length === bytes.length;
      const start = bytes.slice(0, length);
      for (let at = this.#firstAtLeast(start); at < this.#ids.length; at++) {
        const token = this.#bytes[this.#ids[at]!]!;
        if (isWhole ? !token.startsWith(start) : token !== start) break;
        found.add(this.#ids[at]!);
      }
    }
    return found;
  }

  /**
   * Tokens of a prompt, its marker first → the remaining tokens, and the bytes of the removed ones. The first two
   * always remain, so that a context stream has a token.
   */
  takeOff(prompt: readonly number[]): { kept: number[]; begun: string } {
    let tail = '';
    let kept = prompt.length;
    while (kept > 2 && this.#bytes[prompt[kept - 1]!] !== undefined && tail.length < this.#longest) {
      tail = this.#bytes[prompt[--kept]!]! + tail;
    }
    let place = 0;
    while (place < tail.length && !this.#goesOn(tail.slice(place))) place++;
    // The others begin with a whole token.
    let begin = 0;
    while (kept < prompt.length && begin + this.lengthOf(prompt[kept]!) <= place) {
      begin += this.lengthOf(prompt[kept++]!);
    }
    // And with a whole character.
    let begun = tail.slice(begin);
    while (kept > 2 && (begun.charCodeAt(0) & 0xc0) === 0x80 && this.#bytes[prompt[kept - 1]!] !== undefined) {
      begun = this.#bytes[prompt[--kept]!]! + begun;
    }
    return { kept: prompt.slice(0, kept), begun };
  }

  /** Whether a token begins with these bytes and has more of them. */
  #goesOn(bytes: string): boolean {
    for (let at = this.#firstAtLeast(bytes); at < this.#ids.length; at++) {
      const token = this.#bytes[this.#ids[at]!]!;
      if (token !== bytes) return token.startsWith(bytes);
    }
    return false;
  }

  /** The position of the first token whose bytes do not sort before these. */
  #firstAtLeast(bytes: string): number {
    let [low, high] = [0, this.#ids.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (compare(this.#bytes[this.#ids[middle]!]!, bytes) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** The bytes that the first tokens of a completion must repeat before new text. */
export class CursorToken {
  /** Bytes that are before the cursor, a character each. */
  readonly begun: string;
  readonly #table: TokenTable;
  readonly #agreeing = new Map<number, ReadonlySet<number>>(); // by bytes that are not written yet

  constructor(begun: string, table: TokenTable) {
    this.begun = begun;
    this.#table = table;
  }

  /** Whether a token after `before` adds no text after the cursor. */
  isSilent(before: readonly number[], token: number): boolean {
    return this.#table.lengthOf(token) <= this.#unsaid(before);
  }

  /** How many bytes of a token after `before` are before the cursor. */
  bytesBeforeCursor(before: readonly number[], token: number): number {
    return Math.min(this.#unsaid(before), this.#table.lengthOf(token));
  }

  /** The tokens that may follow the tokens of a completion; undefined when the cursor's token has been completed. */
  agreeing(before: readonly number[]): ReadonlySet<number> | undefined {
    const unsaid = this.#unsaid(before);
    if (unsaid === 0) return undefined;
    const known = this.#agreeing.get(unsaid) ?? this.#table.agreeing(this.begun.slice(-unsaid));
    this.#agreeing.set(unsaid, known);
    return known;
  }

  /** How many of the first tokens of a completion add no text after the cursor. */
  silentCount(tokens: readonly number[]): number {
    let said = 0;
    const first = tokens.findIndex((token) => {
      said += this.#table.lengthOf(token);
      return said > this.begun.length;
    });
    return first < 0 ? tokens.length : first;
  }

  #unsaid(tokens: readonly number[]): number {
    let unsaid = this.begun.length;
    for (let at = 0; unsaid > 0 && at < tokens.length; at++) unsaid -= this.#table.lengthOf(tokens[at]!);
    return Math.max(0, unsaid);
  }
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
