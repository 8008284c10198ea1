/**
 * A context stream: the keys and values of tokens that every denoising step sees. Prefix and suffix are both causal
 * streams; a suffix that is read backwards has negated positions. Both grow at their end.
 */

import type { Pointer } from '../transformer/kernel-exports.ts';
import { CACHE_BLOCK } from './memory.ts';

export type StreamKind = 'prefix' | 'suffix';

/**
 * The location of the keys and values of a context: one cache for each key/value head of each layer, one after the
 * other.
 */
export interface CacheLayout {
  readonly base: Pointer;
  /** Tokens that fit. */
  readonly capacity: number;
  readonly layers: number;
  readonly kvHeads: number;
  /** Bytes of the cache of one head. */
  readonly headBytes: number;
}

export class KvCache {
  readonly kind: StreamKind;
  /** Tokens that fit. A canvas needs room after a prefix: a step stores its keys there. */
  readonly capacity: number;
  readonly #tokens: Int32Array; // (capacity)
  readonly #layout: CacheLayout;
  #length = 0;
  #canvas: object | undefined;
  #cachedSlots = 0;

  constructor(kind: StreamKind, layout: CacheLayout) {
    this.kind = kind;
    this.capacity = layout.capacity;
    this.#layout = layout;
    this.#tokens = new Int32Array(layout.capacity);
  }

  /** Tokens whose keys and values are in place. */
  get length(): number {
    return this.#length;
  }

  get tokens(): Int32Array {
    return this.#tokens.subarray(0, this.#length);
  }

  /** The quantized keys and values of one layer and head, in blocks of CACHE_BLOCK tokens. */
  cache(layer: number, kvHead: number): Pointer {
    const { base, kvHeads, headBytes } = this.#layout;
    return base + (layer * kvHeads + kvHead) * headBytes;
  }

  /** Length of the longest common prefix of this context and `tokens`. */
  matchLength(tokens: ArrayLike<number>): number {
    const limit = Math.min(this.#length, tokens.length);
    let length = 0;
    while (length < limit && this.#tokens[length] === tokens[length]) length++;
    return length;
  }

  /** Forgets all tokens from `length` on. */
  truncate(length: number): void {
    if (length >= this.#length) return;
    this.#length = length;
    this.markCanvasCached(undefined, 0);
  }

  /** Records that the keys and values of the first `slots` slots of a canvas follow the tokens. */
  markCanvasCached(canvas: object | undefined, slots: number): void {
    this.#cachedSlots = canvas !== undefined && canvas === this.#canvas ? Math.max(this.#cachedSlots, slots) : slots;
    this.#canvas = canvas;
  }

  /** Slots of a canvas whose keys and values follow the tokens. */
  cachedCanvasSlots(canvas: object | undefined): number {
    return canvas !== undefined && canvas === this.#canvas ? this.#cachedSlots : 0;
  }

  /** Appends tokens whose keys and values are stored by the same pass. */
  append(tokens: ArrayLike<number>): void {
    this.#tokens.set(tokens, this.#length);
    this.#length += tokens.length;
    this.markCanvasCached(undefined, 0);
  }

  /** Becomes a copy of the first `length` tokens of another context of the same kind. */
  copyFrom(other: KvCache, length: number, memory: WebAssembly.Memory): void {
    const bytes = new Uint8Array(memory.buffer);
    const { layers, kvHeads, headBytes, capacity } = this.#layout;
    const copied = Math.min(length, other.length);
    const size = (headBytes / Math.ceil(capacity / CACHE_BLOCK)) * Math.ceil(copied / CACHE_BLOCK);
    for (let layer = 0; layer < layers; layer++) {
      for (let head = 0; head < kvHeads; head++) {
        const from = other.cache(layer, head);
        bytes.copyWithin(this.cache(layer, head), from, from + size);
      }
    }
    this.#tokens.set(other.tokens.subarray(0, copied));
    this.#length = copied;
    this.markCanvasCached(undefined, 0);
  }
}
