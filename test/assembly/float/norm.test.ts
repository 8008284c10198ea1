import { describe, expect, it } from 'vitest';
import { BUILDS, emptyWorkbench } from '../builds.ts';
import { Random, rmsNorm } from '../oracle.ts';

const EPS = 1e-6;
/** Sums of 64 squares in float32, four lanes at a time: some roundings of 6e-8 that mostly cancel. */
const TOLERANCE = 2e-6;

describe.each(BUILDS)('normHeads (%s)', (build) => {
  for (const rows of [1, 2, 3, 5, 32]) {
    it(`should normalise each head of ${rows} rows and leave what lies between the rows`, () => {
      const [heads, headDim, rowStride] = [3, 64, 256];
      const random = new Random(rows);
      const before = random.floats(rows * rowStride, 5);
      const weight = random.floats(headDim, 2);
      const bench = emptyWorkbench(build);
      const x = bench.floats(before);
      bench.kernels.normHeads(x.at, rows, rowStride, heads, headDim, bench.floats(weight).at, EPS);
      for (let row = 0; row < rows; row++) {
        for (let head = 0; head < heads; head++) {
          const start = row * rowStride + head * headDim;
          const expected = rmsNorm(before.subarray(start, start + headDim), weight, EPS);
          expected.forEach((value, d) => {
            expect(Math.abs(x.view[start + d]! - value)).toBeLessThanOrEqual(TOLERANCE * Math.abs(value));
          });
        }
        const gap = row * rowStride + heads * headDim;
        const gapEnd = (row + 1) * rowStride;
        expect(x.view.slice(gap, gapEnd)).toEqual(before.slice(gap, gapEnd));
      }
    });
  }
});
