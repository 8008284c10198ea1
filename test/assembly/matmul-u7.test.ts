import { describe, expect, it } from 'vitest';
import { BUILDS, emptyWorkbench, type Workbench } from './builds.ts';
import { dot, quantize, Random } from './oracle.ts';

function multiply(
  bench: Workbench,
  x: Float32Array,
  weights: Int32Array,
  scales: Float32Array,
  [rows, k, n]: readonly [number, number, number],
  yStride = n,
): Float32Array {
  const source = bench.bytes(n * k);
  source.view.set(weights);
  const w = bench.bytes(bench.kernels.packedU7Bytes(n, k));
  bench.kernels.packU7(source.at, n, k, 0, w.at);
  bench.kernels.packU7Scales(bench.bfloat16(scales).at, n, k, n, 0, w.at);
  const y = bench.floats(rows * yStride);
  bench.kernels.matmulU7(bench.quantized(x, rows, k), rows, k, w.at, n, y.at, yStride);
  return y.view.slice();
}

/**
 * The sums are integers below 2^24 in the sizes used here, so the three float32 operations that follow are known to the
 * bit.
 */
function expected(
  x: Float32Array,
  weights: Int32Array,
  scales: Float32Array,
  [rows, k, n]: readonly [number, number, number],
) {
  const { q, scales: rowScales } = quantize(x, rows, k);
  return Float32Array.from({ length: rows * n }, (_, i) => {
    const [row, column] = [Math.floor(i / n), i % n];
    return Math.fround(dot(q, weights, row, column, k) * rowScales[row]!) * scales[column]!;
  });
}

describe.each(BUILDS)('matmulU7 (%s)', (build) => {
  for (const rows of [1, 2, 3, 4, 6, 8, 13, 32]) {
    for (const k of [32, 64, 96, 256, 704]) {
      for (const n of [8, 16, 24, 40]) {
        it(`should multiply (${rows}, ${k}) by (${n}, ${k})ᵀ to the bit`, () => {
          const random = new Random(rows * 7919 + k * 31 + n);
          const [x, weights, scales] = [random.floats(rows * k), random.integers(n * k, -64, 63), random.scales(n)];
          const shape = [rows, k, n] as const;
          expect(multiply(emptyWorkbench(build), x, weights, scales, shape)).toEqual(
            expected(x, weights, scales, shape),
          );
        });
      }
    }
  }

  it.each([1, 4])('should be exact at the ends of the ranges (%i rows)', (rows) => {
    const [k, n] = [704, 16];
    for (const sign of [-1, 1]) {
      const x = new Float32Array(rows * k).fill(127 * sign);
      const weights = Int32Array.from({ length: n * k }, (_, i) => (Math.floor(i / k) % 2 === 0 ? -64 : 63));
      const y = multiply(emptyWorkbench(build), x, weights, new Float32Array(n).fill(1), [rows, k, n]);
      y.forEach((value, i) => {
        expect(value).toBe(sign * 127 * k * ((i % n) % 2 === 0 ? -64 : 63));
      });
    }
  });

  it.each([1, 4])('should leave what lies between the rows of y (%i rows)', (rows) => {
    const shape = [rows, 32, 24] as const;
    const random = new Random(9);
    const [x, weights, scales] = [random.floats(rows * 32), random.integers(24 * 32, -64, 63), random.scales(24)];
    const y = multiply(emptyWorkbench(build), x, weights, scales, shape, 40);
    const dense = expected(x, weights, scales, shape);
    for (let row = 0; row < rows; row++) {
      expect(y.slice(row * 40, row * 40 + 24)).toEqual(dense.slice(row * 24, row * 24 + 24));
      expect(y.slice(row * 40 + 24, row * 40 + 40).every(Number.isNaN)).toBe(true);
    }
  });
});
