import { describe, expect, it } from 'vitest';
import { BUILDS, emptyWorkbench, onBoth, type Workbench } from './builds.ts';
import { dot, nibbles, quantize, Random } from './oracle.ts';

/**
 * Each of up to 22 groups adds a float32 rounding (6e-8) of what has been summed so far; then one for the scale and one
 * for the residual.
 */
const TOLERANCE = 24 * 6e-8;

interface Operands {
  readonly x: Float32Array; // (rows, k)
  readonly weights: Int32Array; // (n, k) in [-8, 7]
  readonly scales: Float32Array; // (n, k/32)
}

function randomOperands(rows: number, k: number, n: number): Operands {
  const random = new Random(rows * 7919 + k * 31 + n);
  return { x: random.floats(rows * k), weights: random.integers(n * k, -8, 7), scales: random.scales((n * k) / 32) };
}

/** y (rows, n); `residual`, if given, is what y holds before, and is added to. */
function multiply(
  bench: Workbench,
  operands: Operands,
  rows: number,
  k: number,
  n: number,
  residual?: Float32Array,
): Float32Array {
  const { x, weights, scales } = operands;
  const source = bench.bytes((n * k) / 2);
  source.view.set(nibbles(weights));
  const w = bench.bytes(bench.kernels.packedU4Bytes(n, k));
  bench.kernels.packU4(source.at, n, k, 0, w.at);
  bench.kernels.packU4Scales(bench.bfloat16(scales).at, n, k, 0, w.at);
  const y = bench.floats(residual ?? rows * n);
  bench.kernels.matmulU4(bench.quantized(x, rows, k), rows, k, w.at, n, y.at, residual === undefined ? 0 : 1);
  return y.view.slice();
}

function expectClose(
  actual: Float32Array,
  operands: Operands,
  rows: number,
  k: number,
  n: number,
  residual?: Float32Array,
): void {
  const { q, scales: rowScales } = quantize(operands.x, rows, k);
  const groups = k / 32;
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < n; column++) {
      let expected = 0;
      let magnitude = 0;
      for (let group = 0; group < groups; group++) {
        const sum = dot(q, operands.weights, row, column, k, group * 32, group * 32 + 32);
        const term = sum * operands.scales[column * groups + group]! * rowScales[row]!;
        expected += term;
        magnitude += Math.abs(term);
      }
      const before = residual?.[row * n + column] ?? 0;
      const error = Math.abs(actual[row * n + column]! - (expected + before));
      expect(error).toBeLessThanOrEqual(TOLERANCE * (magnitude + Math.abs(before)));
    }
  }
}

describe.each(BUILDS)('matmulU4 (%s)', (build) => {
  for (const rows of [1, 2, 3, 4, 6, 8, 13, 32]) {
    for (const k of [32, 64, 96, 256, 704]) {
      for (const n of [8, 16, 24, 40]) {
        it(`should multiply (${rows}, ${k}) by (${n}, ${k})ᵀ`, () => {
          const operands = randomOperands(rows, k, n);
          expectClose(multiply(emptyWorkbench(build), operands, rows, k, n), operands, rows, k, n);
        });
      }
    }
  }

  it.each([1, 4])('should add to what y holds when it accumulates (%i rows)', (rows) => {
    const [k, n] = [64, 24];
    const operands = randomOperands(rows, k, n);
    const residual = new Random(5).floats(rows * n, 3);
    expectClose(multiply(emptyWorkbench(build), operands, rows, k, n, residual), operands, rows, k, n, residual);
  });

  it.each([1, 4])('should be exact at the ends of the ranges (%i rows)', (rows) => {
    // ±127 throughout against all-0 and all-15 nibbles: the largest sums that the i16 accumulators meet.
    const [k, n] = [64, 16];
    for (const sign of [-1, 1]) {
      const x = new Float32Array(rows * k).fill(127 * sign);
      const weights = Int32Array.from({ length: n * k }, (_, i) => (Math.floor(i / k) % 2 === 0 ? -8 : 7));
      const y = multiply(
        emptyWorkbench(build),
        { x, weights, scales: new Float32Array((n * k) / 32).fill(1) },
        rows,
        k,
        n,
      );
      y.forEach((value, i) => {
        expect(value).toBe(sign * 127 * k * ((i % n) % 2 === 0 ? -8 : 7));
      });
    }
  });

  it.each([1, 2, 3, 5, 6])('should give the bits of seven rows to the first %i of them', (rows) => {
    const [k, n] = [96, 24];
    const seven = randomOperands(7, k, n);
    const among = multiply(emptyWorkbench(build), seven, 7, k, n);
    const first = { ...seven, x: seven.x.slice(0, rows * k) };
    expect(multiply(emptyWorkbench(build), first, rows, k, n)).toEqual(among.slice(0, rows * n));
  });

  it('should give 0 for a zero row and for groups whose weights are all zero', () => {
    const [rows, k, n] = [4, 64, 8];
    const operands = randomOperands(rows, k, n);
    operands.x.fill(0, k, 2 * k);
    const y = multiply(emptyWorkbench(build), operands, rows, k, n);
    expect([...y.subarray(n, 2 * n)]).toEqual(new Array(n).fill(0));
    operands.weights.fill(0);
    expect(multiply(emptyWorkbench(build), operands, rows, k, n).every((value) => value === 0)).toBe(true);
  });
});

describe('matmulU4', () => {
  it.each([1, 8])('should give the same bits on both builds where one group is summed (%i rows)', (rows) => {
    const operands = randomOperands(rows, 32, 40);
    const { relaxed, simd } = onBoth((bench) => multiply(bench, operands, rows, 32, 40));
    expect(relaxed).toEqual(simd);
  });

  it('should give the same bits on both builds where all scales are powers of two', () => {
    // The products are exact then, so that fused and separate rounding agree.
    const operands = { ...randomOperands(8, 704, 40), scales: new Float32Array((40 * 704) / 32).fill(0.125) };
    const { relaxed, simd } = onBoth((bench) => multiply(bench, operands, 8, 704, 40));
    expect(relaxed).toEqual(simd);
  });

  it('should give one row the bits that it has among four', () => {
    const operands = randomOperands(4, 256, 40);
    const four = multiply(emptyWorkbench('relaxed'), operands, 4, 256, 40);
    const first = { ...operands, x: operands.x.slice(0, 256) };
    expect(multiply(emptyWorkbench('relaxed'), first, 1, 256, 40)).toEqual(four.slice(0, 40));
  });
});
