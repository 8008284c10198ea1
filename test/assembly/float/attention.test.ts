import { describe, expect, it } from 'vitest';
import { BUILDS, emptyWorkbench, type Workbench } from '../builds.ts';
import { Random } from '../oracle.ts';

const COUNTS = [1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33, 100, 130];
const ROWS = [1, 2, 3, 4, 5, 7, 8, 32];
const HEAD_DIM = 64;
const SCALE = 1 / Math.sqrt(HEAD_DIM);
/** Up to 130 products summed in float32: bounded by 130 · 6e-8 of Σ |terms|, in practice a tenth of it. */
const TOLERANCE = 8e-6;

interface Cache {
  readonly keys: number;
  readonly values: number;
}

/** Keys and values (count, headDim), stored in pieces of 5 tokens from rows of stride `rowStride`. */
function store(bench: Workbench, k: Float32Array, v: Float32Array, count: number, headDim: number): Cache {
  const capacity = (count + 7) & -8;
  const [keys, values] = [bench.floats(capacity * headDim).at, bench.floats(capacity * headDim).at];
  const rowStride = 2 * headDim;
  for (let offset = 0; offset < count; offset += 5) {
    const rows = Math.min(5, count - offset);
    const both = bench.floats(rows * rowStride);
    for (let row = 0; row < rows; row++) {
      const token = offset + row;
      both.view.set(k.subarray(token * headDim, (token + 1) * headDim), row * rowStride);
      both.view.set(v.subarray(token * headDim, (token + 1) * headDim), row * rowStride + headDim);
    }
    bench.kernels.storeFloatKeysValues(both.at, both.at + headDim * 4, rows, rowStride, headDim, keys, values, offset);
  }
  return { keys, values };
}

/** Σ_i x(i) · y(i), and Σ |terms| for the tolerance. */
function sum(length: number, term: (i: number) => number): { value: number; magnitude: number } {
  let [value, magnitude] = [0, 0];
  for (let i = 0; i < length; i++) {
    value += term(i);
    magnitude += Math.abs(term(i));
  }
  return { value, magnitude };
}

describe.each(BUILDS)('storeFloatKeysValues (%s)', (build) => {
  it('should lay out keys in tiles of eight tokens and values in rows', () => {
    const [count, headDim] = [17, 32];
    const random = new Random(1);
    const [k, v] = [random.floats(count * headDim), random.floats(count * headDim)];
    const bench = emptyWorkbench(build);
    const cache = store(bench, k, v, count, headDim);
    const keys = new Float32Array(bench.memory.buffer, cache.keys, 24 * headDim);
    for (let token = 0; token < count; token++) {
      for (let d = 0; d < headDim; d++) {
        expect(keys[(Math.floor(token / 8) * headDim + d) * 8 + (token % 8)]).toBe(k[token * headDim + d]);
      }
    }
    expect(new Float32Array(bench.memory.buffer, cache.values, count * headDim)).toEqual(v);
  });
});

describe.each(BUILDS)('attentionScores (%s)', (build) => {
  for (const rows of ROWS) {
    it.each(COUNTS)(`should give the scaled products of ${rows} queries with %i keys`, (count) => {
      const random = new Random(rows * 1000 + count);
      const [k, v] = [random.floats(count * HEAD_DIM), random.floats(count * HEAD_DIM)];
      const qStride = 2 * HEAD_DIM;
      const q = random.floats(rows * qStride);
      const bench = emptyWorkbench(build);
      const { keys } = store(bench, k, v, count, HEAD_DIM);
      const stride = ((count + 7) & -8) + 8;
      const scores = bench.floats(rows * stride);
      bench.kernels.attentionScores(bench.floats(q).at, qStride, rows, HEAD_DIM, keys, count, SCALE, scores.at, stride);
      for (let row = 0; row < rows; row++) {
        for (let token = 0; token < count; token++) {
          const { value, magnitude } = sum(HEAD_DIM, (d) => SCALE * q[row * qStride + d]! * k[token * HEAD_DIM + d]!);
          expect(Math.abs(scores.view[row * stride + token]! - value)).toBeLessThanOrEqual(TOLERANCE * magnitude);
        }
        expect(scores.view.slice(row * stride + stride - 8, (row + 1) * stride).every(Number.isNaN)).toBe(true);
      }
    });
  }

  it('should lay two key sets side by side when written from left to right', () => {
    const random = new Random(4);
    const [k, v] = [random.floats(14 * HEAD_DIM), random.floats(14 * HEAD_DIM)];
    const q = random.floats(4 * HEAD_DIM);
    const bench = emptyWorkbench(build);
    const all = store(bench, k, v, 14, HEAD_DIM);
    const left = store(bench, k, v, 5, HEAD_DIM);
    const right = store(bench, k.subarray(5 * HEAD_DIM), v.subarray(5 * HEAD_DIM), 9, HEAD_DIM);
    const [whole, pieces] = [bench.floats(4 * 24), bench.floats(4 * 24)];
    const qAt = bench.floats(q).at;
    const { kernels } = bench;
    kernels.attentionScores(qAt, HEAD_DIM, 4, HEAD_DIM, all.keys, 14, SCALE, whole.at, 24);
    kernels.attentionScores(qAt, HEAD_DIM, 4, HEAD_DIM, left.keys, 5, SCALE, pieces.at, 24);
    kernels.attentionScores(qAt, HEAD_DIM, 4, HEAD_DIM, right.keys, 9, SCALE, pieces.at + 5 * 4, 24);
    for (let row = 0; row < 4; row++) {
      expect(pieces.view.slice(row * 24, row * 24 + 14)).toEqual(whole.view.slice(row * 24, row * 24 + 14));
    }
  });
});

describe.each(BUILDS)('attentionMix (%s)', (build) => {
  for (const rows of ROWS) {
    it.each(COUNTS)(`should mix the values for ${rows} rows of %i weights, then add as much again`, (count) => {
      const random = new Random(rows * 1000 + count);
      const [k, v] = [random.floats(count * HEAD_DIM), random.floats(count * HEAD_DIM)];
      // What lies past the count is NaN: it must not be read.
      const stride = count + 3;
      const weights = random.floats(rows * stride).map((weight, i) => (i % stride < count ? weight : Number.NaN));
      const bench = emptyWorkbench(build);
      const { values } = store(bench, k, v, count, HEAD_DIM);
      const outStride = HEAD_DIM + 16;
      const out = bench.floats(rows * outStride);
      const scores = bench.floats(weights).at;
      for (const accumulate of [0, 1] as const) {
        bench.kernels.attentionMix(scores, stride, rows, values, count, HEAD_DIM, out.at, outStride, accumulate);
        for (let row = 0; row < rows; row++) {
          for (let d = 0; d < HEAD_DIM; d++) {
            const { value, magnitude } = sum(
              count,
              (token) => weights[row * stride + token]! * v[token * HEAD_DIM + d]!,
            );
            const error = Math.abs(out.view[row * outStride + d]! - value * (1 + accumulate));
            expect(error).toBeLessThanOrEqual(TOLERANCE * magnitude * (1 + accumulate));
          }
          expect(out.view.slice(row * outStride + HEAD_DIM, (row + 1) * outStride).every(Number.isNaN)).toBe(true);
        }
      }
    });
  }
});
