import { describe, expect, it } from 'vitest';
import { BUILDS, emptyWorkbench, type Workbench } from '../builds.ts';
import { Random } from '../oracle.ts';
import { attentionOf, type Segment } from './attention-oracle.ts';
import { type Pages, pagesOn, readCache, readQueries, rotaryTableOn } from './attention-support.ts';

const COUNTS = [1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 130];
const HEAD_DIM = 64;
const EPS = 1e-6;
/** 2 · log2 e / √64: scores reach far enough for weights from nothing to almost all. */
const SCALE = 0.36;
/**
 * Of the largest value: powers are off by 2e-7 + |score| · 6e-8, sums of up to 130 of them by as much. A weight that
 * falls on the other side of a rounding boundary is off by 1/124 of the largest sum of its block: such accidents are
 * counted apart.
 */
const TOLERANCE = 1e-5;
const ACCIDENT_TOLERANCE = 1 / 124;
const ACCIDENTS_ALLOWED = 0.02;

interface Stored {
  readonly pages: Pages;
  readonly count: number;
}

/** A context of `count` random tokens. */
function store(bench: Workbench, random: Random, count: number, headDim: number, size = 1): Stored {
  const pages = pagesOn(bench, count, headDim);
  const x = bench.floats(random.floats(count * 2 * headDim, size)).at;
  const positions = bench.ints(random.integers(count, 0, 600)).at;
  const table = rotaryTableOn(bench, headDim);
  const [k, v] = [x, x + headDim * 4];
  const { place, table: at } = pages;
  bench.kernels.storeKeysValues(k, v, count, 2 * headDim, headDim, 0, EPS, positions, table, place, at, 0);
  return { pages, count };
}

function queriesOn(bench: Workbench, random: Random, rows: number, heads: number, headDim: number): number {
  const queries = bench.bytes(bench.kernels.queryBytes(rows * heads, headDim)).at;
  const x = bench.floats(random.floats(rows * heads * headDim, 4)).at;
  const positions = bench.ints(random.integers(rows, 0, 600)).at;
  const stride = heads * headDim;
  const table = rotaryTableOn(bench, headDim);
  bench.kernels.quantizeQueries(x, rows, stride, heads, headDim, 0, EPS, positions, table, SCALE, queries);
  return queries;
}

interface Case {
  rows: number;
  heads: number;
  count: number;
  countStep?: number;
  suffixCount?: number;
  headDim?: number;
}

function expectAttention(bench: Workbench, { rows, heads, count, countStep = 0, suffixCount = 0, headDim = 64 }: Case) {
  const random = new Random(rows * 1000 + count + suffixCount);
  const last = count + countStep * (rows - 1);
  const [main, suffix] = [store(bench, random, last, headDim), store(bench, random, suffixCount, headDim, 3)];
  const [queries, suffixQueries] = [1, 2].map(() => queriesOn(bench, random, rows, heads, headDim)) as [number, number];
  const outStride = heads * headDim + 16;
  const out = bench.floats(rows * outStride);
  const blocks = Math.ceil(last / 32) + Math.ceil(suffixCount / 32);
  const scratch = bench.bytes(bench.kernels.attentionScratchBytes(blocks)).at;
  bench.kernels.attend(
    queries,
    rows,
    heads,
    headDim,
    main.pages.place,
    main.pages.table,
    count,
    countStep,
    suffixQueries,
    suffix.pages.table,
    suffixCount,
    out.at,
    outStride,
    scratch,
  );
  const segmentOf = (q: number, { pages, count: tokens }: Stored, seen: Segment['seen']): Segment => ({
    queries: readQueries(bench, q, rows * heads, headDim),
    ...readCache(bench, pages, tokens, headDim),
    seen,
  });
  const segments = [segmentOf(queries, main, (query) => count + countStep * Math.floor(query / heads))];
  if (suffixCount > 0) segments.unshift(segmentOf(suffixQueries, suffix, () => suffixCount));
  const largest = suffixCount > 0 ? 3 : 1;
  let accidents = 0;
  for (let query = 0; query < rows * heads; query++) {
    const from = Math.floor(query / heads) * outStride + (query % heads) * headDim;
    for (const [d, expected] of attentionOf(query, segments, headDim).entries()) {
      const error = Math.abs(out.view[from + d]! - expected) / largest;
      expect(error).toBeLessThan(ACCIDENT_TOLERANCE);
      if (!(error < TOLERANCE)) accidents++;
    }
  }
  expect(accidents / (rows * heads * headDim)).toBeLessThanOrEqual(ACCIDENTS_ALLOWED);
  for (let row = 0; row < rows; row++) {
    expect(out.view.slice(row * outStride + heads * headDim, (row + 1) * outStride).every(Number.isNaN)).toBe(true);
  }
}

describe.each(BUILDS)('attend (%s)', (build) => {
  it.each(COUNTS)('should mix what every slot of a canvas sees of %i tokens', (count) => {
    for (const rows of [1, 2, 3, 4, 5, 9]) expectAttention(emptyWorkbench(build), { rows, heads: 2, count });
  });

  it.each(COUNTS)(
    'should let each row of a causal stream after %i tokens see one more than the previous row',
    (count) => {
      for (const rows of [2, 5, 40]) expectAttention(emptyWorkbench(build), { rows, heads: 1, count, countStep: 1 });
    },
  );

  it.each(COUNTS)('should take one softmax over two caches, the other of %i tokens', (suffixCount) => {
    expectAttention(emptyWorkbench(build), { rows: 3, heads: 4, count: 41, suffixCount });
  });

  it.each([16, 32, 96, 128, 256])('should take heads of %i', (headDim) => {
    expectAttention(emptyWorkbench(build), { rows: 3, heads: 2, count: 50, suffixCount: 5, headDim });
  });

  it('should give a row the same bits alone and among others', () => {
    const bench = emptyWorkbench(build);
    const random = new Random(7);
    const { place, table: pages } = store(bench, random, 100, HEAD_DIM).pages;
    const [x, positions] = [bench.floats(random.floats(6 * HEAD_DIM, 4)).at, bench.ints(new Int32Array(6)).at];
    const table = rotaryTableOn(bench, HEAD_DIM);
    const queries = bench.bytes(bench.kernels.queryBytes(6, HEAD_DIM)).at;
    const scratch = bench.bytes(bench.kernels.attentionScratchBytes(4)).at;
    const attended = (row: number, rows: number) => {
      const from = x + row * HEAD_DIM * 4;
      const out = bench.floats(rows * HEAD_DIM);
      const stride = HEAD_DIM;
      bench.kernels.quantizeQueries(from, rows, stride, 1, HEAD_DIM, 0, EPS, positions, table, SCALE, queries);
      bench.kernels.attend(queries, rows, 1, HEAD_DIM, place, pages, 90 + row, 1, 0, 0, 0, out.at, stride, scratch);
      return Array.from(out.view);
    };
    const together = attended(0, 6);
    const apart = [0, 1, 2, 3, 4, 5].flatMap((row) => attended(row, 1));
    expect(apart).toEqual(together);
  });

  it('should neither overflow nor lose the largest entry when scores lie far apart', () => {
    const bench = emptyWorkbench(build);
    const random = new Random(8);
    const count = 40;
    const { place, table: pages } = pagesOn(bench, count, HEAD_DIM);
    const x = random.floats(count * 2 * HEAD_DIM);
    // One key is the query itself, a thousand times as long as the others.
    const query = random.floats(HEAD_DIM, 1000);
    x.set(query, 17 * 2 * HEAD_DIM);
    const at = bench.floats(x).at;
    const [positions, table] = [bench.ints(new Int32Array(count)).at, rotaryTableOn(bench, HEAD_DIM)];
    const v = at + HEAD_DIM * 4;
    bench.kernels.storeKeysValues(at, v, count, 2 * HEAD_DIM, HEAD_DIM, 0, EPS, positions, table, place, pages, 0);
    const queries = bench.bytes(bench.kernels.queryBytes(1, HEAD_DIM)).at;
    const q = bench.floats(query).at;
    bench.kernels.quantizeQueries(q, 1, HEAD_DIM, 1, HEAD_DIM, 0, EPS, positions, table, SCALE, queries);
    const out = bench.floats(HEAD_DIM);
    const scratch = bench.bytes(bench.kernels.attentionScratchBytes(2)).at;
    bench.kernels.attend(queries, 1, 1, HEAD_DIM, place, pages, count, 0, 0, 0, 0, out.at, HEAD_DIM, scratch);
    const value = x.subarray((17 * 2 + 1) * HEAD_DIM, (17 * 2 + 2) * HEAD_DIM);
    for (const [d, expected] of value.entries()) expect(Math.abs(out.view[d]! - expected)).toBeLessThan(0.02);
  });
});
