/**
 * Does a build of the kernels multiply as it should on this machine? Extreme activations against extreme weights,
 * compared with plain integers. An engine that lowers a relaxed dot product differently (saturating, or reading the
 * second operand as signed) shows up here.
 */
import type { KernelExports, Pointer } from './kernel-exports.ts';

const ROWS = 4;
const K = 32;
const N = 8;
/** 1.0 as bfloat16. */
const SCALE_ONE = 0x3f80;

/** What a build answered where it should have answered something else. */
export interface ProbeMismatch {
  readonly kernel: 'matmulU4' | 'matmulU7';
  readonly row: number;
  readonly column: number;
  readonly expected: number;
  readonly actual: number;
}

/** Rows at both ends of the int8 range, alternating and mixed; each has absmax 127, so that its scale is exactly 1. */
function activation(row: number, i: number): number {
  return [-127, 127, i % 2 === 0 ? 127 : -127, ((i * 37) % 255) - 127][row] ?? 0;
}

/** Columns at both ends of a range, alternating and mixed. */
function weight(column: number, i: number, lowest: number, highest: number): number {
  const span = highest - lowest + 1;
  return [lowest, highest, i % 2 === 0 ? lowest : highest][column] ?? lowest + ((i * 13 + column * 7) % span);
}

/**
 * Runs both matrix products in the bytes from `start` on (a few KiB, overwritten) and returns the first wrong result,
 * or null.
 */
export function probe(kernels: KernelExports, memory: WebAssembly.Memory, start: Pointer): ProbeMismatch | null {
  let end = start;
  const allocate = (bytes: number): Pointer => {
    const at = end;
    end += (bytes + 15) & -16;
    return at;
  };
  const x = allocate(ROWS * K * 4);
  const a = allocate(kernels.activationBytes(ROWS, K));
  const source = allocate(N * K);
  const scales = allocate(N * 2);
  const w = allocate(Math.max(kernels.packedU4Bytes(N, K), kernels.packedU7Bytes(N, K)));
  const y = allocate(ROWS * N * 4);

  for (let i = 0; i < ROWS * K; i++) new Float32Array(memory.buffer, x)[i] = activation(Math.floor(i / K), i % K);
  new Uint16Array(memory.buffer, scales, N).fill(SCALE_ONE);
  kernels.quantizeRows(x, ROWS, K, a);

  const bytes = new Uint8Array(memory.buffer, source, N * K);
  for (let i = 0; i < (N * K) / 2; i++) {
    const column = Math.floor((2 * i) / K);
    const low = weight(column, (2 * i) % K, -8, 7) + 8;
    const high = weight(column, (2 * i + 1) % K, -8, 7) + 8;
    bytes[i] = low | (high << 4);
  }
  kernels.packU4(source, N, K, 0, w);
  kernels.packU4Scales(scales, N, K, N, 0, w);
  kernels.matmulU4(a, ROWS, K, w, N, y, 0);
  const u4Mismatch = compare('matmulU4', new Float32Array(memory.buffer, y, ROWS * N), -8, 7);
  if (u4Mismatch !== null) return u4Mismatch;

  for (let i = 0; i < N * K; i++) bytes[i] = weight(Math.floor(i / K), i % K, -64, 63);
  kernels.packU7(source, N, K, 0, w);
  kernels.packU7Scales(scales, N, K, N, 0, w);
  kernels.matmulU7(a, ROWS, K, w, N, y, N);
  return compare('matmulU7', new Float32Array(memory.buffer, y, ROWS * N), -64, 63);
}

/** All scales are 1 and |sum| ≤ 32 · 127 · 64 < 2^24: float32 holds every result exactly. */
function compare(
  kernel: ProbeMismatch['kernel'],
  results: Float32Array,
  lowest: number,
  highest: number,
): ProbeMismatch | null {
  for (let row = 0; row < ROWS; row++) {
    for (let column = 0; column < N; column++) {
      let expected = 0;
      for (let i = 0; i < K; i++) expected += activation(row, i) * weight(column, i, lowest, highest);
      const actual = results[row * N + column] ?? Number.NaN;
      if (actual !== expected) return { kernel, row, column, expected, actual };
    }
  }
  return null;
}
