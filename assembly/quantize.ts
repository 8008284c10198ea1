/**
 * Row-wise symmetric int8 quantization into an activation block (layout.ts): scale = absmax/127,
 * q = nearestEven(x · 127/absmax). No `multiplyAdd` here: both builds give the same bits for the same input.
 */
import { ROUNDER } from './exp';
import { activationGroupSums, activationRowSums, activationScales, GROUP, rowsInFours } from './layout';
import { maxLane } from './simd';

/** Below this 127/absmax could overflow: such a row counts as zero. */
export const SMALLEST_ABSMAX: f32 = 1e-30;

const ROUNDERS: usize = memory.data<f32>([12582912, 12582912, 12582912, 12582912], 16);

/** x (rows, k) → activation block a. */
export function quantizeRows(x: usize, rows: i32, k: i32, a: usize): void {
  for (let row = 0; row < rows; row++) {
    quantizeRow(x + ((row * k) << 2), 0, 1, k, a, rows, row);
  }
}

/**
 * Row `row` of the block = x (k), or gain · x · weight where `weight` is not null. Inlined, so that a null `weight`
 * costs nothing.
 */
@inline
export function quantizeRow(x: usize, weight: usize, gain: f32, k: i32, a: usize, rows: i32, row: i32): void {
  const absmax = absmaxOf(x, weight, gain, k);
  const isZero = absmax < SMALLEST_ABSMAX;
  store<f32>(activationScales(a, rows, k) + (row << 2), isZero ? 0 : absmax / 127);
  const inverse = f32x4.splat(isZero ? 0 : 127 / absmax);

  // Of a block of four, every 4 k of a row are followed by those of the three others.
  const block = row < rowsInFours(rows) ? 4 : 1;
  const lane = row % block;
  let q = a + (row - lane) * k + (lane << 2);
  let sums = activationGroupSums(a, rows, k) + (((row - lane) * (k / GROUP) + lane) << 2);
  let total_i32x4 = i32x4.splat(0);
  const end = k << 2;
  for (let at: usize = 0; at < <usize>end; at += GROUP * 4) {
    const low = quantize16(x, weight, gain, at, inverse);
    const high = quantize16(x, weight, gain, at + 64, inverse);
    if (block == 1) {
      v128.store(q, low);
      v128.store(q, high, 16);
    } else {
      store4Quads(q, low);
      store4Quads(q + 64, high);
    }
    // Lane 2j sums k % 4 in {0, 1}, lane 2j + 1 the others. |sum| ≤ 16 · 127 = 2,032, times 8 = 16,256 < 32,767.
    let pairs_i16x8 = i16x8.add(i16x8.extadd_pairwise_i8x16_s(low), i16x8.extadd_pairwise_i8x16_s(high));
    pairs_i16x8 = i16x8.add(pairs_i16x8, v128.shuffle<i32>(pairs_i16x8, pairs_i16x8, 2, 3, 0, 1));
    pairs_i16x8 = i16x8.add(pairs_i16x8, v128.shuffle<i32>(pairs_i16x8, pairs_i16x8, 1, 0, 3, 2));
    const corrections = i16x8.neg(i16x8.shl(pairs_i16x8, 3));
    v128.store32_lane(sums, corrections, 0);
    total_i32x4 = i32x4.add(total_i32x4, i32x4.extadd_pairwise_i16x8_s(corrections));
    q += GROUP * block;
    sums += block << 2;
  }
  // Each lane holds -8 Σ q over the row.
  store<i32>(activationRowSums(a, rows, k) + (row << 2), i32x4.extract_lane(total_i32x4, 0) << 3);
}

/** Four values at byte offset `at`: x, or gain · x · weight. */
@inline
function valuesAt(x: usize, weight: usize, gain: f32, at: usize): v128 {
  const values = v128.load(x + at);
  if (weight == 0) return values;
  return f32x4.mul(f32x4.mul(values, f32x4.splat(gain)), v128.load(weight + at));
}

@inline
function absmaxOf(x: usize, weight: usize, gain: f32, k: i32): f32 {
  let max0 = f32x4.splat(0);
  let max1 = max0;
  const end = k << 2;
  for (let at: usize = 0; at < <usize>end; at += 32) {
    max0 = f32x4.pmax(max0, f32x4.abs(valuesAt(x, weight, gain, at)));
    max1 = f32x4.pmax(max1, f32x4.abs(valuesAt(x, weight, gain, at + 16)));
  }
  return maxLane(f32x4.pmax(max0, max1));
}

/** Sixteen values at byte offset `at`, as i8x16. */
@inline
export function quantize16(x: usize, weight: usize, gain: f32, at: usize, inverse: v128): v128 {
  const q0_i32x4 = nearest(f32x4.mul(valuesAt(x, weight, gain, at), inverse));
  const q1_i32x4 = nearest(f32x4.mul(valuesAt(x, weight, gain, at + 16), inverse));
  const q2_i32x4 = nearest(f32x4.mul(valuesAt(x, weight, gain, at + 32), inverse));
  const q3_i32x4 = nearest(f32x4.mul(valuesAt(x, weight, gain, at + 48), inverse));
  return i8x16.narrow_i16x8_s(i16x8.narrow_i32x4_s(q0_i32x4, q1_i32x4), i16x8.narrow_i32x4_s(q2_i32x4, q3_i32x4));
}

/** i32x4 nearest to f32x4, ties to even; |v| < 2^22. */
@inline
export function nearest(v: v128): v128 {
  return i32x4.sub(f32x4.add(v, v128.load(ROUNDERS)), v128.load(ROUNDERS));
}

/** The four quads of a row to their places in a block of four rows, 16 bytes apart. */
@inline
export function store4Quads(q: usize, quads: v128): void {
  v128.store32_lane(q, quads, 0);
  v128.store32_lane(q, quads, 1, 16);
  v128.store32_lane(q, quads, 2, 32);
  v128.store32_lane(q, quads, 3, 48);
}
