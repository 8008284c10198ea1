/**
 * Byte-pair merging of one piece of text (Sennrich et al., arXiv 1508.07909): the adjacent pair of lowest rank is
 * joined, leftmost first, until no pair is known. A heap over a linked list keeps it O(n log n): a piece can be a whole
 * line of one character, and the client chooses its length.
 */

/** Positions and ranks share one heap key (rank · 2^26 + position) that must stay an exact integer. */
const POSITION_RANGE = 2 ** 26;
const NONE = -1;

/** Pairs of tokens that are joined; the first that is added has rank 0. */
export class MergeTable {
  readonly #ranks = new Map<number, number>();
  readonly #ids: number[] = []; // by rank
  readonly #vocabSize: number;

  constructor(vocabSize: number) {
    this.#vocabSize = vocabSize;
  }

  /** @param id the token that results from the pair */
  add(left: number, right: number, id: number): void {
    this.#ranks.set(left * this.#vocabSize + right, this.#ids.length);
    this.#ids.push(id);
  }

  rankOf(left: number, right: number): number | undefined {
    return this.#ranks.get(left * this.#vocabSize + right);
  }

  /** The token that results from the pair of a rank. */
  idOf(rank: number): number {
    return this.#ids[rank]!;
  }
}

/** Merges `symbols` (token ids of single bytes) and returns the ids that are left. `symbols` is overwritten. */
export function mergeSymbols(symbols: Int32Array, table: MergeTable): number[] {
  const next = Int32Array.from(symbols, (_, i) => (i + 1 < symbols.length ? i + 1 : NONE));
  const previous = Int32Array.from(symbols, (_, i) => i - 1);
  const heap = new NumberHeap();
  const offer = (position: number) => {
    const right = position === NONE ? NONE : next[position]!;
    if (right === NONE) return;
    const rank = table.rankOf(symbols[position]!, symbols[right]!);
    if (rank !== undefined) heap.push(rank * POSITION_RANGE + position);
  };
  for (let i = 0; i < symbols.length; i++) offer(i);

  for (let key = heap.pop(); key !== undefined; key = heap.pop()) {
    const position = key % POSITION_RANGE;
    const right = next[position]!;
    // A swallowed symbol is NONE; a pair that changed since it was queued has another rank.
    if (symbols[position] === NONE || right === NONE) continue;
    const rank = table.rankOf(symbols[position]!, symbols[right]!);
    if (rank !== Math.floor(key / POSITION_RANGE)) continue;
    symbols[position] = table.idOf(rank);
    symbols[right] = NONE;
    next[position] = next[right]!;
    if (next[position] !== NONE) previous[next[position]!] = position;
    offer(previous[position]!);
    offer(position);
  }
  return Array.from(symbols.filter((id) => id !== NONE));
}

/** Binary min-heap of numbers. */
class NumberHeap {
  readonly #keys: number[] = [];

  push(key: number): void {
    const keys = this.#keys;
    let hole = keys.length;
    keys.push(key);
    while (hole > 0) {
      const parent = (hole - 1) >> 1;
      if (keys[parent]! <= key) break;
      keys[hole] = keys[parent]!;
      hole = parent;
    }
    keys[hole] = key;
  }

  pop(): number | undefined {
    const keys = this.#keys;
    const top = keys[0];
    const last = keys.pop();
    if (last === undefined || keys.length === 0) return top;
    let hole = 0;
    for (let child = 1; child < keys.length; child = 2 * hole + 1) {
      if (child + 1 < keys.length && keys[child + 1]! < keys[child]!) child++;
      if (keys[child]! >= last) break;
      keys[hole] = keys[child]!;
      hole = child;
    }
    keys[hole] = last;
    return top;
  }
}
