/**
 * A context stream: the keys and values of tokens that every denoising step sees. Prefix and suffix are both causal
 * streams; a suffix that is read backwards has negated positions. Both grow at their end, page by page.
 */

import type { Pointer } from '../transformer/kernel-exports.ts';
import { BLOCK_TOKENS } from '../transformer/pointers.ts';
import type { PagePool } from './page-pool.ts';

export type StreamKind = 'prefix' | 'suffix';

export interface KvCacheParts {
  readonly memory: WebAssembly.Memory;
  readonly pool: PagePool;
  /** u32 addresses of the pages (capacity / BLOCK_TOKENS, rounded up), which the kernels read. */
  readonly table: Pointer;
  /** Tokens that fit. */
  readonly capacity: number;
}

/** Pages of a context of so many tokens. */
export function pagesOf(tokens: number): number {
  return Math.ceil(tokens / BLOCK_TOKENS);
}

export class KvCache {
  readonly kind: StreamKind;
  /** Tokens that fit. A canvas needs room after a prefix: a step stores its keys there. */
  readonly capacity: number;
  /** Table of the pages, for the kernels. */
  readonly table: Pointer;
  readonly #memory: WebAssembly.Memory;
  readonly #pool: PagePool;
  readonly #pages: Pointer[] = [];
  readonly #tokens: Int32Array; // (capacity)
  #length = 0;
  #canvas: object | undefined;
  #cachedSlots = 0;
  /** Tokens whose rows of a canvas follow the tokens. */
  #rows: readonly number[] = [];

  constructor(kind: StreamKind, { memory, pool, table, capacity }: KvCacheParts) {
    this.kind = kind;
    this.capacity = capacity;
    this.table = table;
    this.#memory = memory;
    this.#pool = pool;
    this.#tokens = new Int32Array(capacity);
  }

  /** Tokens whose keys and values are in place. */
  get length(): number {
    return this.#length;
  }

  get tokens(): Int32Array {
    return this.#tokens.subarray(0, this.#length);
  }

  /** Pages that are held, shared ones included. */
  get pages(): number {
    return this.#pages.length;
  }

  /** Length of the longest common prefix of this context and `tokens`. */
  matchLength(tokens: ArrayLike<number>): number {
    const limit = Math.min(this.#length, tokens.length);
    let length = 0;
    while (length < limit && this.#tokens[length] === tokens[length]) length++;
    return length;
  }

  /** Forgets all tokens from `length` on, and gives back the pages that only they need. */
  truncate(length: number): void {
    if (length >= this.#length) return;
    this.#length = length;
    this.trim();
  }

  /** Forgets a canvas after the tokens, and gives back the pages that only it needs. */
  trim(): void {
    this.markCanvasCached(undefined, 0);
    for (const page of this.#pages.splice(pagesOf(this.#length))) this.#pool.release(page);
  }

  /** Pages of the pool that `reserve` would take for so many tokens. */
  missingPages(tokens: number): number {
    return Math.max(0, pagesOf(tokens) - this.#pages.length) + (this.#sharesItsEnd(tokens) ? 1 : 0);
  }

  /**
   * Takes pages for `tokens` tokens, if there are not enough, so that those from `length` on can be written. Throws
   * NoFreePage, and RangeError when so many do not fit.
   */
  reserve(tokens: number): void {
    if (tokens > this.capacity) throw new RangeError(`${tokens} tokens in a context of ${this.capacity}`);
    const end = this.#length / BLOCK_TOKENS;
    if (this.#sharesItsEnd(tokens)) this.#setPage(Math.floor(end), this.#pool.unshare(this.#pages[Math.floor(end)]!));
    while (this.#pages.length < pagesOf(tokens)) this.#setPage(this.#pages.length, this.#pool.take());
  }

  /** Records that the keys and values of the first `slots` slots of a canvas follow the tokens. */
  markCanvasCached(canvas: object | undefined, slots: number): void {
    this.#rows = [];
    this.#cachedSlots = canvas !== undefined && canvas === this.#canvas ? Math.max(this.#cachedSlots, slots) : slots;
    this.#canvas = canvas;
  }

  /** Slots of a canvas whose keys and values follow the tokens. */
  cachedCanvasSlots(canvas: object | undefined): number {
    return canvas !== undefined && canvas === this.#canvas ? this.#cachedSlots : 0;
  }

  /** Records that the keys and values of rows follow the tokens, each row having seen those before it. */
  markRows(tokens: readonly number[]): void {
    this.markCanvasCached(undefined, 0);
    this.#rows = tokens;
  }

  /** Appends as many of these tokens as there are rows of, and gives their number. */
  adoptRows(tokens: readonly number[]): number {
    const rows = this.#rows;
    const other = tokens.findIndex((token, index) => rows[index] !== token);
    const count = other < 0 ? tokens.length : other;
    if (count > 0) {
      this.append(tokens.slice(0, count));
      this.#rows = rows.slice(count);
    }
    return count;
  }

  /** Appends tokens whose keys and values are stored by the same pass. Throws what `reserve` throws. */
  append(tokens: ArrayLike<number>): void {
    this.reserve(this.#length + tokens.length);
    this.#tokens.set(tokens, this.#length);
    this.#length += tokens.length;
    this.markCanvasCached(undefined, 0);
  }

  /** Becomes the first `length` tokens of another context of the same kind. Both hold the same pages from then on. */
  shareFrom(other: KvCache, length: number): void {
    this.truncate(0);
    this.trim();
    const shared = Math.min(length, other.length);
    for (const [index, page] of other.#pages.slice(0, pagesOf(shared)).entries()) {
      this.#pool.share(page);
      this.#setPage(index, page);
    }
    this.#tokens.set(other.tokens.subarray(0, shared));
    this.#length = shared;
  }

  /** Whether the next token goes to a page that another context holds too. */
  #sharesItsEnd(tokens: number): boolean {
    const page = this.#pages[Math.floor(this.#length / BLOCK_TOKENS)];
    return tokens > this.#length && page !== undefined && this.#pool.isShared(page);
  }

  #setPage(index: number, page: Pointer): void {
    this.#pages[index] = page;
    new Uint32Array(this.#memory.buffer, this.table)[index] = page;
  }
}
