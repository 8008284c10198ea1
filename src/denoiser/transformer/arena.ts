/** An arena in WASM memory: everything is laid out once, and a forward pass never allocates. */

import type { Pointer } from './kernel-exports.ts';

/** Best candidates kept of each slot: the best one that may stand in a text is among them, behind up to five special ones. */
export const CANDIDATES = 8;

export const FLOAT_BYTES = 4;

const ALIGNMENT = 16;

const PAGE_BYTES = 65_536;

/** Logits of a vocabulary chunk while the head looks for its largest; 32 rows run at full speed with it. */
export const HEAD_SCRATCH_BYTES = 65_536;

/** Rows that the packing kernels take at a time. */
export const PACK_ROWS = 8;

/** The weights of one layer; shapes as (outputs, inputs). */
export interface LayerPointers {
  readonly inputNorm: Pointer; // f32 (hidden)
  readonly qkv: Pointer; // packed u4 ((heads + 2 · kvHeads) · headDim, hidden): q rows, k rows, v rows
  readonly qNorm: Pointer; // f32 (headDim)
  readonly kNorm: Pointer; // f32 (headDim)
  readonly output: Pointer; // packed u4 (hidden, heads · headDim)
  readonly postAttentionNorm: Pointer; // f32 (hidden)
  readonly gateUp: Pointer; // packed u4 (2 · ffn, hidden): gate rows, up rows
  readonly down: Pointer; // packed u4 (hidden, ffn)
}

/** Hands out memory from a pointer on, aligned for vectors. */
export class Arena {
  #end: Pointer;

  constructor(start: Pointer) {
    this.#end = start;
  }

  /** Behind all that was handed out. */
  get end(): Pointer {
    return this.#end;
  }

  take(bytes: number): Pointer {
    const pointer = this.#end;
    this.#end = roundUp(pointer + bytes, ALIGNMENT);
    return pointer;
  }
}

/** Grows `memory` to the plan. Throws RangeError when the engine refuses. */
export function growMemory(memory: WebAssembly.Memory, bytes: number): void {
  const missing = bytes - memory.buffer.byteLength;
  if (missing > 0) memory.grow(Math.ceil(missing / PAGE_BYTES));
}

/** The next multiple from `value` on. */
export function roundUp(value: number, multiple: number): number {
  return Math.ceil(value / multiple) * multiple;
}
