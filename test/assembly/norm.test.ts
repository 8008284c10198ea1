import { describe, expect, it } from 'vitest';
import { BUILDS, emptyWorkbench, onBoth, type Workbench } from './builds.ts';
import { activationIndex, Random, rmsNorm } from './oracle.ts';

const EPS = 1e-6;
/** Sums of up to 704 squares in float32, four lanes at a time: some hundred roundings of 6e-8 that mostly cancel. */
const TOLERANCE = 2e-6;

function normQuantizeOn(bench: Workbench, x: Float32Array, weight: Float32Array, rows: number, k: number): Uint8Array {
  const a = bench.bytes(bench.kernels.activationBytes(rows, k));
  a.view.fill(0);
  bench.kernels.rmsNormQuantizeRows(bench.floats(x).at, bench.floats(weight).at, rows, k, EPS, a.at);
  return a.view.slice();
}

describe.each(BUILDS)('rmsNormQuantizeRows (%s)', (build) => {
  for (const rows of [1, 4, 12, 32]) {
    for (const k of [32, 64, 96, 256, 704]) {
      it(`should quantize the normalised rows for ${rows} rows of ${k}`, () => {
        const random = new Random(rows * 1000 + k);
        const x = random.floats(rows * k, 4);
        const weight = random.floats(k, 2);
        const block = normQuantizeOn(emptyWorkbench(build), x, weight, rows, k);
        const q = new Int8Array(block.buffer);
        const scales = new Float32Array(block.buffer, rows * k, rows);
        for (let row = 0; row < rows; row++) {
          const normalised = rmsNorm(x.subarray(row * k, (row + 1) * k), weight, EPS);
          const scale = Math.max(...normalised.map(Math.abs)) / 127;
          expect(Math.abs(scales[row]! / scale - 1)).toBeLessThan(TOLERANCE);
          for (let i = 0; i < k; i++) {
            // Half a step of rounding, and what the inexact norm moves of up to 127 steps.
            const steps = normalised[i]! / scale;
            expect(Math.abs(q[activationIndex(row, i, rows, k)]! - steps)).toBeLessThan(0.5 + 127 * TOLERANCE);
          }
        }
      });
    }
  }

  it('should keep a zero row zero', () => {
    const block = normQuantizeOn(emptyWorkbench(build), new Float32Array(64), new Float32Array(64).fill(1), 1, 64);
    expect(block.every((byte) => byte === 0)).toBe(true);
  });
});

describe('rmsNormQuantizeRows', () => {
  it('should give the same bytes on both builds', () => {
    const random = new Random(11);
    const x = random.floats(32 * 256, 4);
    const weight = random.floats(256, 2);
    const { relaxed, simd } = onBoth((bench) => normQuantizeOn(bench, x, weight, 32, 256));
    expect(relaxed).toEqual(simd);
  });
});
