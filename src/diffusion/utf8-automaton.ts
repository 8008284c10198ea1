/**
 * UTF-8 as a finite automaton over bytes, without the characters that a text must not have. Built from code points, so
 * that overlong forms and surrogates are excluded as any other character is (The Unicode Standard, table 3-7).
 */

/** First and last code point. */
export type CodePoints = readonly [first: number, last: number];

/** The state between two characters. */
export const BOUNDARY = 0;
/** No text continues with this byte. */
export const DEAD = -1;

const SURROGATES: CodePoints = [0xd800, 0xdfff];
const BEYOND_UNICODE: CodePoints = [0x110000, 0x1fffff];

/**
 * Lead bytes of each length: the first one, the bits of the code point in it, and the least code point that needs the
 * length.
 */
const LEADS = [
  { first: 0xf0, last: 0xf7, bits: 0x07, more: 3, least: 0x10000 },
  { first: 0xe0, last: 0xef, bits: 0x0f, more: 2, least: 0x800 },
  { first: 0xc0, last: 0xdf, bits: 0x1f, more: 1, least: 0x80 },
  { first: 0x00, last: 0x7f, bits: 0x7f, more: 0, least: 0 },
] as const;

export class Utf8Automaton {
  readonly #excluded: readonly CodePoints[];
  readonly #moves: Int8Array[] = []; // by state, (256)
  readonly #states = new Map<string, number>();

  /** @param excluded characters that no text has */
  constructor(excluded: readonly CodePoints[]) {
    this.#excluded = [...excluded, SURROGATES, BEYOND_UNICODE];
    const moves = new Int8Array(256).fill(DEAD);
    this.#moves.push(moves);
    for (const { first, last, bits, more, least } of LEADS) {
      for (let byte = first; byte <= last; byte++) {
        moves[byte] = this.#stateOf(more, (byte & bits) * 64 ** more, [...this.#excluded, [0, least - 1]]);
      }
    }
  }

  /** Number of states; they are 0 to one less. */
  get states(): number {
    return this.#moves.length;
  }

  /** The state after a byte, or DEAD. */
  next(state: number, byte: number): number {
    return this.#moves[state]![byte]!;
  }

  /** The state in which `more` bytes are missing of a character from `base` on. States with the same future are one. */
  #stateOf(more: number, base: number, excluded: readonly CodePoints[]): number {
    const size = 64 ** more;
    const gaps = excluded
      .map(([first, last]): CodePoints => [Math.max(0, first - base), Math.min(size - 1, last - base)])
      .filter(([first, last]) => first <= last)
      .sort(([a], [b]) => a - b);
    if (isCovered(size, gaps)) return DEAD;
    if (more === 0) return BOUNDARY;
    const key = `${more}:${gaps.join(' ')}`;
    const known = this.#states.get(key);
    if (known !== undefined) return known;
    const moves = new Int8Array(256).fill(DEAD);
    const state = this.#moves.push(moves) - 1;
    this.#states.set(key, state);
    for (let byte = 0x80; byte <= 0xbf; byte++) {
      moves[byte] = this.#stateOf(more - 1, base + (byte & 0x3f) * 64 ** (more - 1), excluded);
    }
    return state;
  }
}

/** Whether sorted ranges cover all of 0 to `size` - 1. */
function isCovered(size: number, ranges: readonly CodePoints[]): boolean {
  let end = 0;
  for (const [first, last] of ranges) {
    if (first > end) return false;
    end = Math.max(end, last + 1);
  }
  return end >= size;
}
