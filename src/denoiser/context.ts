/**
 * A context stream: the keys and values of tokens that every denoising step sees. Prefix and suffix are both causal
 * streams, the suffix read backwards with negated positions, so that both grow at their end.
 */

import type { DenoiserConfig } from './config.ts';
import type { Pointer } from './kernels.ts';
import { KEY_TILE } from './memory.ts';

export type StreamKind = 'prefix' | 'suffix';

const FLOAT_BYTES = 4;

export class ContextStream {
  readonly kind: StreamKind;
  /** Tokens that fit. A canvas needs room behind a prefix: its own keys are laid there during a step. */
  readonly capacity: number;
  readonly #tokens: Int32Array; // (capacity)
  readonly #base: Pointer;
  readonly #headBytes: number;
  readonly #kvHeads: number;
  #length = 0;
  #canvas: object | undefined;
  #heldSlots = 0;

  constructor(kind: StreamKind, base: Pointer, capacity: number, config: DenoiserConfig) {
    this.kind = kind;
    this.capacity = capacity;
    this.#base = base;
    this.#tokens = new Int32Array(capacity);
    this.#headBytes = capacity * config.headDim * FLOAT_BYTES;
    this.#kvHeads = config.kvHeads;
  }

  /** Tokens whose keys and values are in place. */
  get length(): number {
    return this.#length;
  }

  get tokens(): Int32Array {
    return this.#tokens.subarray(0, this.#length);
  }

  /** Keys of one layer and head: f32 tiles of 8 tokens, (capacity/8, headDim, 8). */
  keys(layer: number, kvHead: number): Pointer {
    return this.#base + 2 * (layer * this.#kvHeads + kvHead) * this.#headBytes;
  }

  /** Values of one layer and head: f32 (capacity, headDim). */
  values(layer: number, kvHead: number): Pointer {
    return this.keys(layer, kvHead) + this.#headBytes;
  }

  /** Length of the longest common beginning of this context and `tokens`. */
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
    this.hold(undefined, 0);
  }

  /** Notes that the keys and values of the first `slots` slots of a canvas lie behind the tokens. */
  hold(canvas: object | undefined, slots: number): void {
    this.#heldSlots = canvas !== undefined && canvas === this.#canvas ? Math.max(this.#heldSlots, slots) : slots;
    this.#canvas = canvas;
  }

  /** Slots of a canvas whose keys and values lie behind the tokens. */
  held(canvas: object | undefined): number {
    return canvas !== undefined && canvas === this.#canvas ? this.#heldSlots : 0;
  }

  /** Notes tokens whose keys and values have just been stored behind the others. */
  append(tokens: ArrayLike<number>): void {
    this.#tokens.set(tokens, this.#length);
    this.#length += tokens.length;
    this.hold(undefined, 0);
  }

  /** Becomes a copy of the first `length` tokens of another context of the same kind. */
  copyFrom(other: ContextStream, length: number, memory: WebAssembly.Memory, layers: number): void {
    const bytes = new Uint8Array(memory.buffer);
    const copied = Math.min(length, other.length);
    // Key tiles and value rows of a token are equally long, so whole tiles end where whole values do.
    const size = Math.ceil(copied / KEY_TILE) * KEY_TILE * (this.#headBytes / this.capacity);
    for (let block = 0; block < 2 * layers * this.#kvHeads; block++) {
      const from = other.#base + block * this.#headBytes;
      bytes.copyWithin(this.#base + block * this.#headBytes, from, from + size);
    }
    this.#tokens.set(other.tokens.subarray(0, copied));
    this.#length = copied;
    this.hold(undefined, 0);
  }
}
