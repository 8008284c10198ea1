/**
 * The tensors that a weights file must have, and where each goes. Rows are packed into kernel layout while they arrive,
 * block by block; only the staging buffer is held in between.
 */

import { FLOAT_BYTES } from './arena.ts';
import type { KernelExports, Pointer } from './kernel-exports.ts';
import { type Dtype, type RowSink, readSafetensors, SafetensorsError, type TensorInfo } from './safetensors.ts';
import { GROUP_SIZE } from './shape.ts';

/** Rows that the packing kernels take at a time. */
export const PACK_ROWS = 8;

/** The buffer that row blocks pass through. */
export interface Staging {
  readonly staging: Pointer;
  readonly stagingBytes: number;
}

/** The header entry that a tensor must have, and where its rows go. */
interface ExpectedTensor {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  open(): RowSink;
}

export class TensorSinks {
  readonly #kernels: KernelExports;
  readonly #memory: WebAssembly.Memory;
  readonly #pointer: Pointer;
  readonly #staging: Uint8Array;
  readonly #expected = new Map<string, ExpectedTensor>();

  constructor(kernels: KernelExports, { staging, stagingBytes }: Staging, memory: WebAssembly.Memory) {
    this.#kernels = kernels;
    this.#memory = memory;
    this.#pointer = staging;
    this.#staging = new Uint8Array(memory.buffer, staging, stagingBytes);
  }

  /** Expects f32 (size), which goes to `target`. */
  vector(name: string, size: number, target: Pointer): void {
    this.#row(name, 'F32', [size], FLOAT_BYTES * size, (bytes) => {
      new Uint8Array(this.#memory.buffer, target).set(bytes);
    });
  }

  /**
   * Expects a 4-bit matrix (n, k), which becomes the outputs [firstOutput, firstOutput + n) of `target`, packed.
   */
  linear(name: string, n: number, k: number, target: Pointer, firstOutput = 0): void {
    this.#blocks(`${name}.weight_packed`, 'I32', [n, k / 8], k / 2, (src, rows, first) =>
      this.#kernels.packU4(src, rows, k, firstOutput + first, target),
    );
    this.#blocks(`${name}.weight_scale`, 'BF16', [n, k / GROUP_SIZE], (2 * k) / GROUP_SIZE, (src, rows, first) =>
      this.#kernels.packU4Scales(src, rows, k, firstOutput + first, target),
    );
    this.#row(`${name}.weight_shape`, 'I64', [2], 16, () => {
      const [fileN, fileK] = new BigInt64Array(this.#memory.buffer, this.#pointer, 2);
      if (fileN !== BigInt(n) || fileK !== BigInt(k)) {
        throw new SafetensorsError(`weights: '${name}.weight_shape' is ${fileN} × ${fileK}, expected ${n} × ${k}`);
      }
    });
  }

  /** Expects an int8 matrix (n, k) of values that fit 7 bits, with a scale a row: an embedding or a head. */
  table(name: string, n: number, k: number, target: Pointer): void {
    this.#blocks(`${name}.weight`, 'I8', [n, k], k, (src, rows, first) =>
      this.#kernels.packU7(src, rows, k, first, target),
    );
    this.#blocks(`${name}.weight_scale`, 'BF16', [n, 1], 2, (src, rows, first) =>
      this.#kernels.packU7Scales(src, rows, k, n, first, target),
    );
  }

  /** Reads all that is expected. Throws SafetensorsError, naming the tensor, and what the stream fails with. */
  async read(source: ReadableStream<Uint8Array>): Promise<void> {
    await readSafetensors(source, (tensors) => {
      const names = new Set(tensors.map(({ name }) => name));
      const missing = [...this.#expected.keys()].filter((name) => !names.has(name));
      if (missing.length > 0) {
        throw new SafetensorsError(`weights: tensor '${missing[0]}' is missing (${missing.length} in all)`);
      }
      return tensors.map((tensor) => check(tensor, this.#expected.get(tensor.name)).open);
    });
  }

  /** A tensor that is one row, handed over in the staging buffer. */
  #row(name: string, dtype: Dtype, shape: number[], rowBytes: number, accept: (bytes: Uint8Array) => void): void {
    const buffer = this.#staging.subarray(0, rowBytes);
    this.#expected.set(name, { dtype, shape, open: () => ({ rowBytes, buffer, accept: () => accept(buffer) }) });
  }

  /** A tensor that `pack` takes from the staging buffer block by block: `rows` rows from row `first` on. */
  #blocks(
    name: string,
    dtype: Dtype,
    shape: [number, number],
    rowBytes: number,
    pack: (src: Pointer, rows: number, first: number) => void,
  ): void {
    const blockRows = Math.floor(this.#staging.length / rowBytes / PACK_ROWS) * PACK_ROWS;
    const buffer = this.#staging.subarray(0, blockRows * rowBytes);
    const accept = (first: number, rows: number) => pack(this.#pointer, rows, first);
    this.#expected.set(name, { dtype, shape, open: () => ({ rowBytes, buffer, accept }) });
  }
}

function check({ name, dtype, shape }: TensorInfo, expected: ExpectedTensor | undefined): ExpectedTensor {
  if (expected === undefined) throw new SafetensorsError(`weights: tensor '${name}' is not of this model`);
  if (dtype !== expected.dtype) {
    throw new SafetensorsError(`weights: tensor '${name}' has dtype ${dtype}, expected ${expected.dtype}`);
  }
  if (shape.length !== expected.shape.length || shape.some((size, axis) => size !== expected.shape[axis])) {
    throw new SafetensorsError(`weights: tensor '${name}' has shape [${shape}], expected [${expected.shape}]`);
  }
  return expected;
}
