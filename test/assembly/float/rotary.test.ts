import { describe, expect, it } from 'vitest';
import { BUILDS, emptyWorkbench, type Workbench } from '../builds.ts';
import { Random } from '../oracle.ts';

const HEAD_DIM = 64;
const HALF = HEAD_DIM / 2;
const MAX_POSITION = 600;
const THETA = 10_000;
/** A table entry, two products and a sum, each rounded to float32 (6e-8), of values up to 1.5. */
const TOLERANCE = 5e-7;

function angle(position: number, d: number): number {
  return position * THETA ** ((-2 * d) / HEAD_DIM);
}

function table(bench: Workbench): number {
  return bench.floats(
    Float32Array.from({ length: MAX_POSITION * HEAD_DIM }, (_, i) => {
      const [position, d] = [Math.floor(i / HEAD_DIM), i % HEAD_DIM];
      return d < HALF ? Math.cos(angle(position, d)) : Math.sin(angle(position, d - HALF));
    }),
  ).at;
}

describe.each(BUILDS)('rotateHeads (%s)', (build) => {
  const heads = 3;
  const rowStride = 256;

  function expectTurned(y: Float32Array, yRowStride: number, x: Float32Array, positions: ArrayLike<number>): void {
    for (let i = 0; i < positions.length * heads * HALF; i++) {
      const [row, head, d] = [Math.floor(i / (heads * HALF)), Math.floor(i / HALF) % heads, i % HALF];
      const from = row * rowStride + head * HEAD_DIM + d;
      const to = row * yRowStride + head * HEAD_DIM + d;
      const [cosine, sine] = [Math.cos(angle(positions[row]!, d)), Math.sin(angle(positions[row]!, d))];
      expect(Math.abs(y[to]! - (x[from]! * cosine - x[from + HALF]! * sine))).toBeLessThan(TOLERANCE);
      expect(Math.abs(y[to + HALF]! - (x[from + HALF]! * cosine + x[from]! * sine))).toBeLessThan(TOLERANCE);
    }
  }

  it.each([1, 2, 3, 7, 32])('should turn the heads of %i rows, backwards where the position is negative', (rows) => {
    const random = new Random(rows);
    const before = random.floats(rows * rowStride);
    const positions = random.integers(rows, -MAX_POSITION + 1, MAX_POSITION - 1);
    positions[0] = -MAX_POSITION + 1;
    const bench = emptyWorkbench(build);
    const x = bench.floats(before);
    const y = bench.floats(rows * heads * HEAD_DIM);
    const positionsAt = bench.ints(positions).at;
    const yRowStride = heads * HEAD_DIM;
    bench.kernels.rotateHeads(x.at, rows, rowStride, heads, HEAD_DIM, positionsAt, table(bench), y.at, yRowStride);
    expectTurned(y.view, yRowStride, before, positions);
    expect(x.view).toEqual(before);
  });

  it('should turn in place', () => {
    const before = new Random(2).floats(2 * rowStride);
    const positions = [5, -599];
    const bench = emptyWorkbench(build);
    const x = bench.floats(before);
    const positionsAt = bench.ints(positions).at;
    bench.kernels.rotateHeads(x.at, 2, rowStride, heads, HEAD_DIM, positionsAt, table(bench), x.at, rowStride);
    expectTurned(x.view, rowStride, before, positions);
  });
});
