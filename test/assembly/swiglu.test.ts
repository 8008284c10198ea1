import { describe, expect, it } from 'vitest';
import { BUILDS, emptyWorkbench } from './builds.ts';
import { activationIndex, Random } from './oracle.ts';

/**
 * The exponential is good to 2e-7 + |x| · 8e-8 (assembly/exp.ts), 7e-6 where |x| is 87; silu passes on no more of it.
 */
const TOLERANCE = 1e-5;

function silu(x: number): number {
  return x / (1 + Math.exp(-x));
}

describe.each(BUILDS)('swigluQuantizeRows (%s)', (build) => {
  for (const rows of [1, 4, 8, 32]) {
    for (const k of [32, 96, 704]) {
      it(`should quantize silu(gate) · up for ${rows} rows of ${k}`, () => {
        const gateUp = new Random(rows * 1000 + k).floats(rows * 2 * k, 20);
        const bench = emptyWorkbench(build);
        const a = bench.bytes(bench.kernels.activationBytes(rows, k));
        bench.kernels.swigluQuantizeRows(bench.floats(gateUp).at, rows, k, a.at);
        const q = new Int8Array(bench.memory.buffer, a.at, rows * k);
        const scales = new Float32Array(bench.memory.buffer, a.at + rows * k, rows);
        for (let row = 0; row < rows; row++) {
          const products = Array.from({ length: k }, (_, i) => {
            return silu(gateUp[row * 2 * k + i]!) * gateUp[row * 2 * k + k + i]!;
          });
          const scale = Math.max(...products.map(Math.abs)) / 127;
          expect(Math.abs(scales[row]! / scale - 1)).toBeLessThan(TOLERANCE);
          products.forEach((product, i) => {
            const error = Math.abs(q[activationIndex(row, i, rows, k)]! - product / scale);
            expect(error).toBeLessThan(0.5 + 2 * 127 * TOLERANCE);
          });
        }
      });
    }
  }

  it('should neither overflow nor give NaN for gates far outside the range of the exponential', () => {
    const k = 32;
    const gates = Array.from({ length: k }, (_, i) => [-1e4, -200, -90, 90, 200, 1e4][i % 6]!);
    const bench = emptyWorkbench(build);
    const gateUp = bench.floats([...gates, ...new Array<number>(k).fill(1)]);
    const a = bench.bytes(bench.kernels.activationBytes(1, k));
    bench.kernels.swigluQuantizeRows(gateUp.at, 1, k, a.at);
    gates.forEach((gate, i) => {
      // Where the exponential is cut at 2^126 the true value is below 1e-30: nothing to any scale that a row can have
      // here.
      expect(Math.abs(gateUp.view[i]! - silu(gate))).toBeLessThanOrEqual(
        Math.max(TOLERANCE * Math.abs(silu(gate)), 1e-30),
      );
    });
  });
});
