/** An arena in WASM memory: everything is laid out once, and a forward pass never allocates. */

import type { Pointer } from './kernel-exports.ts';

/** Bytes of a float32, and of an int32. */
export const FLOAT_BYTES = 4;

/** Kernels load vectors of 16 bytes. */
const ALIGNMENT = 16;

const PAGE_BYTES = 65_536;

/** Hands out memory from a pointer on, aligned for vectors. */
export class Arena {
  #end: Pointer;

  constructor(start: Pointer) {
    this.#end = start;
  }

  /** The first byte that has not been handed out. */
  get end(): Pointer {
    return this.#end;
  }

  take(bytes: number): Pointer {
    const pointer = this.#end;
    this.#end = roundUp(pointer + bytes, ALIGNMENT);
    return pointer;
  }

  /** Takes room for f32 or i32 values. */
  floats(count: number): Pointer {
    return this.take(count * FLOAT_BYTES);
  }
}

/** Grows `memory` to `bytes`. Throws RangeError when the engine refuses. */
export function growMemory(memory: WebAssembly.Memory, bytes: number): void {
  const missing = bytes - memory.buffer.byteLength;
  if (missing > 0) memory.grow(Math.ceil(missing / PAGE_BYTES));
}

/** The next multiple from `value` on. */
export function roundUp(value: number, multiple: number): number {
  return Math.ceil(value / multiple) * multiple;
}

/** Pointer to row `row` of a tensor of 4-byte elements that is `width` elements wide. */
export function rowOf(tensor: Pointer, row: number, width: number): Pointer {
  return tensor + row * width * FLOAT_BYTES;
}
