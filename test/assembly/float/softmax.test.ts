import { describe, expect, it } from 'vitest';
import { BUILDS, emptyWorkbench } from '../builds.ts';
import { Random, softmax } from '../oracle.ts';

const COUNTS = [1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33, 100];
/**
 * Of a probability p = exp(x - max) / sum: 2e-7 + |x - max| · 8e-8 from the exponential (assembly/exp.ts), with |x -
 * max| at most 40 in the scores used here, and as much again from the rounding of x - max and from the sum.
 */
const TOLERANCE = 7e-6;

describe.each(BUILDS)('softmaxRows (%s)', (build) => {
  for (const count of COUNTS) {
    it.each([1, 2, 3, 8])(`should normalise ${count} entries of %i rows and clear the rest`, (rows) => {
      const width = (count + 7) & -8;
      const stride = width + 8;
      const scores = new Random(count * 100 + rows).floats(rows * stride, 20);
      const bench = emptyWorkbench(build);
      const actual = bench.floats(scores);
      // What lies past the count is of no meaning, and may be the worst.
      for (let row = 0; row < rows; row++) actual.view.fill(Number.NaN, row * stride + count, row * stride + width);
      bench.kernels.softmaxRows(actual.at, rows, stride, count, width);
      for (let row = 0; row < rows; row++) {
        const start = row * stride;
        softmax([...scores.subarray(start, start + count)]).forEach((probability, i) => {
          expect(Math.abs(actual.view[start + i]! - probability)).toBeLessThanOrEqual(TOLERANCE * probability);
        });
        expect([...actual.view.subarray(start + count, start + width)]).toEqual(new Array(width - count).fill(0));
        expect(actual.view.slice(start + width, start + stride)).toEqual(scores.slice(start + width, start + stride));
      }
    });
  }

  it('should be good to 1e-6 where the scores lie within 2 of each other', () => {
    // 2e-7 + 2 · 8e-8 from the exponential, of an entry and of the sum, and a few roundings of 6e-8.
    const scores = new Random(3).floats(512, 1);
    const bench = emptyWorkbench(build);
    const actual = bench.floats(scores);
    bench.kernels.softmaxRows(actual.at, 1, 512, 512, 512);
    softmax([...scores]).forEach((probability, i) => {
      expect(Math.abs(actual.view[i]! / probability - 1)).toBeLessThan(1e-6);
    });
  });

  it('should neither overflow nor lose the largest entry when scores lie far apart', () => {
    const bench = emptyWorkbench(build);
    const scores = bench.floats([-3e38, 1e4, -1e4, 9990, 1e4, 0, 0, 0]);
    bench.kernels.softmaxRows(scores.at, 1, 8, 5, 8);
    const expected = softmax([-3e38, 1e4, -1e4, 9990, 1e4]);
    expected.forEach((probability, i) => {
      expect(scores.view[i]).toBeCloseTo(probability, 6);
    });
  });

  it('should clear a row of which nothing is kept', () => {
    const bench = emptyWorkbench(build);
    const scores = bench.floats(8);
    bench.kernels.softmaxRows(scores.at, 1, 8, 0, 8);
    expect([...scores.view]).toEqual(new Array(8).fill(0));
  });
});
