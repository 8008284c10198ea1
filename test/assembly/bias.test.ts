import { describe, expect, it } from 'vitest';
import { BUILDS, emptyWorkbench } from './builds.ts';
import { Random } from './oracle.ts';

describe.each(BUILDS)('addBias (%s)', (build) => {
  it.each([1, 3, 4, 17])('should add to each of %i rows and leave what lies between them', (rows) => {
    const [n, rowStride] = [20, 32];
    const random = new Random(rows);
    const before = random.floats(rows * rowStride);
    const bias = random.floats(n);
    const bench = emptyWorkbench(build);
    const x = bench.floats(before);
    bench.kernels.addBias(x.at, rows, rowStride, n, bench.floats(bias).at);
    const expected = before.map((value, i) => (i % rowStride < n ? value + bias[i % rowStride]! : value));
    expect(x.view).toEqual(expected);
  });
});
