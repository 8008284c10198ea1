import { describe, expect, it } from 'vitest';
import { BUILDS, emptyWorkbench, onBoth, type Workbench } from './builds.ts';
import { Random } from './oracle.ts';

/**
 * log Σ exp: an absolute error is the relative one of the sum, some 2e-6, plus the rounding of a result up to 100
 * (4e-6).
 */
const LSE_TOLERANCE = 1e-5;

interface Shape {
  readonly rows: number;
  readonly k: number;
  readonly n: number;
}

interface Head {
  readonly ids: Int32Array; // (rows, topK)
  readonly logits: Float32Array; // (rows, topK)
  readonly lse: Float32Array; // (rows)
  readonly all: Float32Array; // (rows, n), by matmulU7
}

function runHead(
  bench: Workbench,
  x: Float32Array,
  weights: Int32Array,
  shape: Shape,
  topK: number,
  columns: number,
): Head {
  const { rows, k, n } = shape;
  const { kernels } = bench;
  const source = bench.bytes(n * k);
  source.view.set(weights);
  const scales = bench.bfloat16(new Float32Array(n).fill(1 / 64));
  const w = bench.bytes(kernels.packedU7Bytes(n, k)).at;
  kernels.packU7(source.at, n, k, 0, w);
  kernels.packU7Scales(scales.at, n, k, n, 0, w);
  const a = bench.quantized(x, rows, k);
  const [ids, logits, lse] = [bench.ints(rows * topK), bench.floats(rows * topK), bench.floats(rows)];
  const scratch = bench.bytes(((rows * 4 + 15) & -16) + rows * columns * 4);
  kernels.headTopK(a, rows, k, w, n, topK, ids.at, logits.at, lse.at, scratch.at, scratch.view.length);
  const all = bench.floats(rows * n);
  kernels.matmulU7(a, rows, k, w, n, all.at, n);
  return { ids: ids.view.slice(), logits: logits.view.slice(), lse: lse.view.slice(), all: all.view.slice() };
}

function expectTop(head: Head, { rows, n }: Shape, topK: number): void {
  for (let row = 0; row < rows; row++) {
    const all = [...head.all.subarray(row * n, (row + 1) * n)];
    const ids = all.map((_, id) => id).sort((one, other) => all[other]! - all[one]! || one - other);
    const best = ids.slice(0, topK);
    expect([...head.ids.subarray(row * topK, (row + 1) * topK)]).toEqual(best);
    expect([...head.logits.subarray(row * topK, (row + 1) * topK)]).toEqual(best.map((id) => all[id]));
    const largest = all[ids[0]!]!;
    const lse = largest + Math.log(all.reduce((sum, logit) => sum + Math.exp(logit - largest), 0));
    expect(Math.abs(head.lse[row]! - lse)).toBeLessThan(LSE_TOLERANCE);
  }
}

describe.each(BUILDS)('headTopK (%s)', (build) => {
  for (const rows of [1, 4, 8, 32]) {
    for (const [n, topK, columns] of [
      [8, 8, 8],
      [16, 1, 8],
      [24, 5, 64],
      [328, 16, 40],
      [1000, 4, 512],
      [1000, 16, 8],
    ] as const) {
      it(`should keep the ${topK} best of ${n} logits of ${rows} rows, ${columns} at a time`, () => {
        const shape = { rows, k: 64, n };
        const random = new Random(rows * 1000 + n);
        const [x, weights] = [random.floats(rows * 64, 2), random.integers(n * 64, -64, 63)];
        expectTop(runHead(emptyWorkbench(build), x, weights, shape, topK, columns), shape, topK);
      });
    }
  }

  it('should give a row the same bits, whatever the length of the chunks and the number of rows', () => {
    const random = new Random(9);
    const n = 1000;
    const [x, weights] = [random.floats(3 * 64, 2), random.integers(n * 64, -64, 63)];
    const first = (rows: number, columns: number) => {
      const { ids, logits, lse } = runHead(emptyWorkbench(build), x, weights, { rows, k: 64, n }, 4, columns);
      return { ids: [...ids.subarray(0, 4)], logits: [...logits.subarray(0, 4)], lse: lse[0] };
    };
    const expected = first(1, n);
    for (const columns of [64, 100, 192, 640]) expect(first(3, columns)).toEqual(expected);
  });

  it('should put the lower id first among equal logits, across chunks too', () => {
    const shape = { rows: 4, k: 32, n: 64 };
    const random = new Random(6);
    // Eight weight rows that repeat: every logit occurs eight times.
    const pattern = random.integers(8 * 32, -64, 63);
    const weights = Int32Array.from({ length: 64 * 32 }, (_, i) => pattern[i % pattern.length]!);
    expectTop(runHead(emptyWorkbench(build), random.floats(4 * 32), weights, shape, 16, 16), shape, 16);
  });

  it('should give a zero row the first ids and the logarithm of the vocabulary size', () => {
    const shape = { rows: 1, k: 32, n: 40 };
    const head = runHead(
      emptyWorkbench(build),
      new Float32Array(32),
      new Random(6).integers(40 * 32, -64, 63),
      shape,
      3,
      16,
    );
    expect([...head.ids]).toEqual([0, 1, 2]);
    expect([...head.logits]).toEqual([0, 0, 0]);
    expect(head.lse[0]).toBeCloseTo(Math.log(40), 5);
  });
});

describe('headTopK', () => {
  it('should give the same ids and logits on both builds', () => {
    const shape = { rows: 8, k: 256, n: 512 };
    const random = new Random(12);
    const [x, weights] = [random.floats(8 * 256), random.integers(512 * 256, -64, 63)];
    const { relaxed, simd } = onBoth((bench) => runHead(bench, x, weights, shape, 16, 128));
    expect(relaxed.ids).toEqual(simd.ids);
    expect(relaxed.logits).toEqual(simd.logits);
  });
});
