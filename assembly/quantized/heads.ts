/**
 * From projection to attention: the heads of queries, keys and values. RMSNorm (QK-norm, arXiv 2302.05442), rotary
 * position embedding (arXiv 2104.09864, rotate-half convention: dimension d is rotated with d + headDim/2),
 * quantization. No `multiplyAdd`: both builds give the same bits for the same input.
 */
import {
  BLOCK,
  blockAt,
  blockKeyScales,
  blockValueScales,
  blockValues,
  queryScales,
  querySums,
  TILE,
} from '../layout';
import { inverseRms } from '../norm';
import { quantize16, SMALLEST_ABSMAX, store4Quads } from '../quantize';
import { maxLane } from '../simd';

/** Queries and keys take 7 bits: two products of them and their sum fit i16, and two of those sums do as well. */
const QUERY_MAX: f32 = 63;
const KEY_MAX: f32 = 63;
const VALUE_MAX: f32 = 127;
const KEY_ZERO_POINT: i8 = 64;

const LARGEST_HEAD_DIM: i32 = 256;

/** One head, normed and rotated. */
const HEAD: usize = memory.data(LARGEST_HEAD_DIM * 4, 16);

/**
 * x (rows of stride rowStride; heads, headDim) → query block of rows · heads queries, those of one row next to each
 * other. `weight` (headDim) or 0 for none. The scale of each query is multiplied by `scale`.
 */
export function quantizeQueries(
  x: usize,
  rows: i32,
  rowStride: i32,
  heads: i32,
  headDim: i32,
  weight: usize,
  eps: f32,
  positions: usize,
  table: usize,
  scale: f32,
  queries: usize,
): void {
  const count = rows * heads;
  const scales = queryScales(queries, count, headDim);
  const sums = querySums(queries, count, headDim);
  for (let query = 0; query < count; query++) {
    const row = query / heads;
    const head = x + ((row * rowStride + (query - row * heads) * headDim) << 2);
    const absmax = normAndRotateHead(head, headDim, weight, eps, load<i32>(positions + (row << 2)), table);
    const isZero = absmax < SMALLEST_ABSMAX;
    store<f32>(scales + (query << 2), isZero ? 0 : (absmax / QUERY_MAX) * scale);
    const inverse = f32x4.splat(isZero ? 0 : QUERY_MAX / absmax);
    let q = queries + ((query & -4) * headDim) + ((query & 3) << 2);
    let sums_i32x4 = i32x4.splat(0);
    for (let d: usize = 0; d < <usize>headDim << 2; d += 64) {
      const values = quantize16(HEAD, 0, 1, d, inverse);
      store4Quads(q, values);
      sums_i32x4 = i32x4.add(sums_i32x4, i32x4.extadd_pairwise_i16x8_s(i16x8.extadd_pairwise_i8x16_s(values)));
      q += 64;
    }
    sums_i32x4 = i32x4.add(sums_i32x4, v128.shuffle<i32>(sums_i32x4, sums_i32x4, 2, 3, 0, 1));
    const sum = i32x4.extract_lane(sums_i32x4, 0) + i32x4.extract_lane(sums_i32x4, 1);
    store<i32>(sums + (query << 2), -(<i32>KEY_ZERO_POINT) * sum);
  }
}

/**
 * Appends k (normed by `weight`, or unchanged for 0, and rotated) and v, rows of stride rowStride, at token `offset` of
 * the head at `place` in `pages` (layout.ts).
 */
export function storeKeysValues(
  k: usize,
  v: usize,
  rows: i32,
  rowStride: i32,
  headDim: i32,
  weight: usize,
  eps: f32,
  positions: usize,
  table: usize,
  place: i32,
  pages: usize,
  offset: i32,
): void {
  for (let row = 0; row < rows; row++) {
    const token = offset + row;
    const lane = token % BLOCK;
    const block = blockAt(pages, place, (token - lane) / BLOCK);
    const from = <usize>(row * rowStride) << 2;
    const absmax = normAndRotateHead(k + from, headDim, weight, eps, load<i32>(positions + (row << 2)), table);
    storeKey(block, headDim, lane, absmax);
    storeValue(v + from, block, headDim, lane);
  }
}

/** The key in HEAD to its place among the tiles of a block. */
@inline
function storeKey(block: usize, headDim: i32, lane: i32, absmax: f32): void {
  const isZero = absmax < SMALLEST_ABSMAX;
  store<f32>(blockKeyScales(block, headDim) + (lane << 2), isZero ? 0 : absmax / KEY_MAX);
  const inverse = f32x4.splat(isZero ? 0 : KEY_MAX / absmax);
  const column = lane % TILE;
  let key = block + (lane - column) * headDim + (column << 2);
  for (let d: usize = 0; d < <usize>headDim << 2; d += 64) {
    const values = i8x16.add(quantize16(HEAD, 0, 1, d, inverse), i8x16.splat(KEY_ZERO_POINT));
    v128.store32_lane(key, values, 0);
    v128.store32_lane(key, values, 1, 4 * TILE);
    v128.store32_lane(key, values, 2, 8 * TILE);
    v128.store32_lane(key, values, 3, 12 * TILE);
    key += 16 * TILE;
  }
}

/** The value v (headDim) to its place in a block: a byte in each of its words. */
@inline
function storeValue(v: usize, block: usize, headDim: i32, lane: i32): void {
  let largest = f32x4.splat(0);
  for (let at = v; at < v + (<usize>headDim << 2); at += 16) largest = f32x4.pmax(largest, f32x4.abs(v128.load(at)));
  const absmax = maxLane(largest);
  const isZero = absmax < SMALLEST_ABSMAX;
  store<f32>(blockValueScales(block, headDim) + (lane << 2), isZero ? 0 : absmax / VALUE_MAX);
  const inverse = f32x4.splat(isZero ? 0 : VALUE_MAX / absmax);
  let value = blockValues(block, headDim) + ((lane >> 2) << 5) + (lane & 3);
  for (let d: usize = 0; d < <usize>headDim << 2; d += 64) {
    const values = quantize16(v, 0, 1, d, inverse);
    v128.store8_lane(value, values, 0);
    v128.store8_lane(value, values, 1, 4);
    v128.store8_lane(value, values, 2, 8);
    v128.store8_lane(value, values, 3, 12);
    v128.store8_lane(value, values, 4, 16);
    v128.store8_lane(value, values, 5, 20);
    v128.store8_lane(value, values, 6, 24);
    v128.store8_lane(value, values, 7, 28);
    v128.store8_lane(value, values, 8, 256);
    v128.store8_lane(value, values, 9, 260);
    v128.store8_lane(value, values, 10, 264);
    v128.store8_lane(value, values, 11, 268);
    v128.store8_lane(value, values, 12, 272);
    v128.store8_lane(value, values, 13, 276);
    v128.store8_lane(value, values, 14, 280);
    v128.store8_lane(value, values, 15, 284);
    value += 512;
  }
}

/**
 * x (headDim) normed by `weight`, unless that is 0, and rotated by its position → HEAD. Returns the largest |value|.
 */
@inline
function normAndRotateHead(x: usize, headDim: i32, weight: usize, eps: f32, position: i32, table: usize): f32 {
  const half = <usize>headDim << 1;
  const cosines = table + <usize>(abs(position) * headDim) * 4;
  const sign = f32x4.splat(position < 0 ? -1 : 1);
  const gain = f32x4.splat(weight == 0 ? 1 : inverseRms(x, headDim, eps));
  let largest = f32x4.splat(0);
  for (let d: usize = 0; d < half; d += 16) {
    const cosine = v128.load(cosines + d);
    const sine = f32x4.mul(sign, v128.load(cosines + half + d));
    let first = v128.load(x + d);
    let second = v128.load(x + half + d);
    if (weight != 0) {
      first = f32x4.mul(f32x4.mul(first, gain), v128.load(weight + d));
      second = f32x4.mul(f32x4.mul(second, gain), v128.load(weight + half + d));
    }
    const rotated0 = f32x4.sub(f32x4.mul(first, cosine), f32x4.mul(second, sine));
    const rotated1 = f32x4.add(f32x4.mul(second, cosine), f32x4.mul(first, sine));
    v128.store(HEAD + d, rotated0);
    v128.store(HEAD + half + d, rotated1);
    largest = f32x4.pmax(largest, f32x4.pmax(f32x4.abs(rotated0), f32x4.abs(rotated1)));
  }
  return maxLane(largest);
}
