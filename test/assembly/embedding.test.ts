import { describe, expect, it } from 'vitest';
import { BUILDS, emptyWorkbench } from './builds.ts';
import { Random } from './oracle.ts';

describe.each(BUILDS)('embedRows (%s)', (build) => {
  it.each([1, 2, 3, 5, 32])('should look up %i rows to the bit', (rows) => {
    const [n, k] = [40, 96];
    const random = new Random(rows);
    const [weights, scales] = [random.integers(n * k, -64, 63), random.scales(n)];
    const ids = random.integers(rows, 0, n - 1);
    ids[0] = n - 1;
    const bench = emptyWorkbench(build);
    const source = bench.bytes(n * k);
    source.view.set(weights);
    const w = bench.bytes(bench.kernels.packedU7Bytes(n, k));
    bench.kernels.packU7(source.at, n, k, 0, w.at);
    bench.kernels.packU7Scales(bench.bfloat16(scales).at, n, k, n, 0, w.at);
    const x = bench.floats(rows * k);
    bench.kernels.embedRows(bench.ints(ids).at, rows, w.at, n, k, x.at);
    const expected = Float32Array.from({ length: rows * k }, (_, i) => {
      const id = ids[Math.floor(i / k)]!;
      return weights[id * k + (i % k)]! * scales[id]!;
    });
    expect(x.view).toEqual(expected);
  });
});
