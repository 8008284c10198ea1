/**
 * The memory of all contexts, in pages that are handed out as contexts grow: a context takes what its tokens need, not
 * what the longest one would. A page holds the keys and values of BLOCK_TOKENS tokens, of all layers and heads.
 * Contexts that begin with the same tokens share pages (as vLLM does, arXiv 2309.06180); none writes to a shared one.
 */

import type { Pointer } from '../transformer/kernel-exports.ts';

/** More pages are needed than are free: contexts have to be truncated first. */
export class NoFreePage extends RangeError {
  override readonly name = 'NoFreePage';

  constructor() {
    super('no page is free for keys and values');
  }
}

export class PagePool {
  readonly pageBytes: number;
  /** Pages, free or not. */
  readonly size: number;
  readonly #memory: WebAssembly.Memory;
  readonly #free: Pointer[];
  /** Contexts that hold a page, where there is more than one. */
  readonly #holders = new Map<Pointer, number>();

  constructor(memory: WebAssembly.Memory, base: Pointer, size: number, pageBytes: number) {
    this.#memory = memory;
    this.size = size;
    this.pageBytes = pageBytes;
    // The lowest is taken first.
    this.#free = Array.from({ length: size }, (_, index) => base + (size - 1 - index) * pageBytes);
  }

  get free(): number {
    return this.#free.length;
  }

  /** A page for one context. Throws NoFreePage. */
  take(): Pointer {
    const page = this.#free.pop();
    if (page === undefined) throw new NoFreePage();
    return page;
  }

  /** Another context holds the page too. */
  share(page: Pointer): void {
    this.#holders.set(page, (this.#holders.get(page) ?? 1) + 1);
  }

  isShared(page: Pointer): boolean {
    return this.#holders.has(page);
  }

  /** One context holds the page no longer; without any it is free. */
  release(page: Pointer): void {
    const holders = this.#holders.get(page);
    if (holders === undefined) this.#free.push(page);
    else if (holders > 2) this.#holders.set(page, holders - 1);
    else this.#holders.delete(page);
  }

  /** A page of the same content that only the caller holds, in exchange for a shared one. Throws NoFreePage. */
  unshare(page: Pointer): Pointer {
    const own = this.take();
    new Uint8Array(this.#memory.buffer).copyWithin(own, page, page + this.pageBytes);
    this.release(page);
    return own;
  }
}
