import { describe, expect, it } from 'vitest';
import { BUILDS, emptyWorkbench, onBoth, type Workbench } from '../builds.ts';
import { Random } from '../oracle.ts';
import { KEY_MAX, QUERY_MAX, turnedHead, VALUE_MAX } from './attention-oracle.ts';
import { pagesOn, readCache, readQueries, rotaryTableOn } from './attention-support.ts';

const EPS = 1e-6;
const HEAD_DIM = 64;
const HEADS = 3;
const ROW_STRIDE = 256;
/** Norm, table, two products and a sum in float32: in units of the last place of the largest of a head. */
const TOLERANCE = 3e-6;
const SCALE = 0.18;

function expectQuantized(q: Int8Array, scale: number, expected: readonly number[], largest: number, factor = 1): void {
  const absmax = Math.max(...expected.map(Math.abs));
  expect(Math.abs(scale / ((absmax / largest) * factor) - 1)).toBeLessThan(TOLERANCE);
  expect(Math.max(...q.map(Math.abs))).toBe(largest);
  for (const [d, value] of expected.entries()) {
    const steps = (value * largest) / absmax;
    expect(Math.abs(q[d]! - steps)).toBeLessThan(0.5 + largest * TOLERANCE);
  }
}

function operands(rows: number, bench: Workbench) {
  const random = new Random(rows);
  const x = random.floats(rows * ROW_STRIDE, 4);
  const weight = random.floats(HEAD_DIM, 2);
  const positions = random.integers(rows, -600, 600);
  positions[0] = -600;
  const at = { x: bench.floats(x).at, weight: bench.floats(weight).at, positions: bench.ints(positions).at };
  return { x, weight, positions, at, table: rotaryTableOn(bench, HEAD_DIM) };
}

function headOf(x: Float32Array, row: number, head: number): Float32Array {
  return x.subarray(row * ROW_STRIDE + head * HEAD_DIM, row * ROW_STRIDE + (head + 1) * HEAD_DIM);
}

describe.each(BUILDS)('quantizeQueries (%s)', (build) => {
  it.each([1, 2, 3, 5, 8, 33])('should norm, turn and quantize the heads of %i rows', (rows) => {
    const bench = emptyWorkbench(build);
    const { x, weight, positions, at, table } = operands(rows, bench);
    for (const normed of [true, false]) {
      const { queries } = quantizeOn(bench, rows, at, normed ? at.weight : 0, table);
      const { q, scales } = readQueries(bench, queries, rows * HEADS, HEAD_DIM);
      for (let query = 0; query < rows * HEADS; query++) {
        const [row, head] = [Math.floor(query / HEADS), query % HEADS];
        const expected = turnedHead(headOf(x, row, head), normed ? weight : undefined, EPS, positions[row]!, 10_000);
        const integers = q.subarray(query * HEAD_DIM, (query + 1) * HEAD_DIM);
        expectQuantized(integers, scales[query]!, expected, QUERY_MAX, SCALE);
      }
    }
  });

  it('should make a zero head zero', () => {
    const bench = emptyWorkbench(build);
    const { at, table } = operands(1, bench);
    const zeros = { ...at, x: bench.floats(new Float32Array(ROW_STRIDE)).at };
    const { queries } = quantizeOn(bench, 1, zeros, at.weight, table);
    const { q, scales } = readQueries(bench, queries, HEADS, HEAD_DIM);
    expect([...q, ...scales].every((value) => value === 0)).toBe(true);
  });
});

it('quantizeQueries should give the same integers and scales on both builds', () => {
  const { relaxed, simd } = onBoth((bench) => {
    const { at, table } = operands(9, bench);
    const { queries } = quantizeOn(bench, 9, at, at.weight, table);
    return readQueries(bench, queries, 9 * HEADS, HEAD_DIM);
  });
  expect(relaxed).toEqual(simd);
});

function quantizeOn(
  bench: Workbench,
  rows: number,
  at: { x: number; positions: number },
  weight: number,
  table: number,
): { queries: number } {
  const queries = bench.bytes(bench.kernels.queryBytes(rows * HEADS, HEAD_DIM)).at;
  const { x, positions } = at;
  bench.kernels.quantizeQueries(x, rows, ROW_STRIDE, HEADS, HEAD_DIM, weight, EPS, positions, table, SCALE, queries);
  return { queries };
}

describe.each(BUILDS)('storeKeysValues (%s)', (build) => {
  it.each([1, 5, 31, 32, 33, 64])('should append quantized keys and values %i at a time', (step) => {
    const tokens = 70;
    const bench = emptyWorkbench(build);
    const { x, weight, positions, at, table } = operands(tokens, bench);
    const pages = pagesOn(bench, tokens, HEAD_DIM);
    const [k, v] = [at.x, at.x + HEAD_DIM * 4];
    for (let token = 0; token < tokens; token += step) {
      const rows = Math.min(step, tokens - token);
      const from = token * ROW_STRIDE * 4;
      const [keys, values, places] = [k + from, v + from, at.positions + token * 4];
      bench.kernels.storeKeysValues(
        keys,
        values,
        rows,
        ROW_STRIDE,
        HEAD_DIM,
        at.weight,
        EPS,
        places,
        table,
        pages.place,
        pages.table,
        token,
      );
    }
    const { keys, values } = readCache(bench, pages, tokens, HEAD_DIM);
    for (let token = 0; token < tokens; token++) {
      const key = turnedHead(headOf(x, token, 0), weight, EPS, positions[token]!, 10_000);
      const place = [token * HEAD_DIM, (token + 1) * HEAD_DIM] as const;
      expectQuantized(keys.q.subarray(...place), keys.scales[token]!, key, KEY_MAX);
      expectQuantized(values.q.subarray(...place), values.scales[token]!, [...headOf(x, token, 1)], VALUE_MAX);
    }
  });
});
