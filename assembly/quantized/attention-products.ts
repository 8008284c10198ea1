/** The two matrix products of attention, four queries at a time: one tile of keys, one block of values. */
import { dotPairs, multiplyAdd, onesI16, splatLane0, splatLane1, splatLane2, splatLane3 } from '../simd';

const LARGEST_HEAD_DIM: i32 = 256;

// What one block of values is multiplied with lies at constant addresses: see layout.ts.
/** u7 weights [8 quads of tokens][4 queries][4 tokens]. */
export const WEIGHTS: usize = memory.data(128, 16);
/** f32 scales of the weights [4 queries]. */
export const WEIGHT_SCALES: usize = memory.data(16, 16);
/** f32 sums [headDim/8][4 queries][8 d]. */
export const ACCUMULATORS: usize = memory.data(LARGEST_HEAD_DIM * 16, 16);

/**
 * scores (4 rows 128 bytes apart; 8 tokens) = q [headDim/4][4 queries][4 d] × keys [headDim/4][8 tokens][4 d]ᵀ, scaled.
 * |q| ≤ 63 and keys are below 128: four products fit an i16 lane (4 · 63 · 127 = 32,004 < 32,767), so that two dot
 * products are widened at once.
 */
@inline
export function scoreTile(
  q: usize,
  sums: usize,
  scales: usize,
  headDim: i32,
  keys: usize,
  keyScales: usize,
  scores: usize,
): void {
  const ones = onesI16();
  // s{query}{half}: i32x4 of tokens 4·half … 4·half + 3.
  const start = v128.load(sums);
  let s00 = splatLane0(start);
  let s01 = s00;
  let s10 = splatLane1(start);
  let s11 = s10;
  let s20 = splatLane2(start);
  let s21 = s20;
  let s30 = splatLane3(start);
  let s31 = s30;
  const end = keys + (headDim << 3);
  do {
    const k0 = v128.load(keys);
    const k1 = v128.load(keys, 16);
    const k2 = v128.load(keys, 32);
    const k3 = v128.load(keys, 48);
    const low = v128.load(q);
    const high = v128.load(q, 16);
    let p0 = splatLane0(low);
    let p1 = splatLane0(high);
    s00 = i32x4.add(s00, i32x4.dot_i16x8_s(i16x8.add(dotPairs(p0, k0), dotPairs(p1, k2)), ones));
    s01 = i32x4.add(s01, i32x4.dot_i16x8_s(i16x8.add(dotPairs(p0, k1), dotPairs(p1, k3)), ones));
    p0 = splatLane1(low);
    p1 = splatLane1(high);
    s10 = i32x4.add(s10, i32x4.dot_i16x8_s(i16x8.add(dotPairs(p0, k0), dotPairs(p1, k2)), ones));
    s11 = i32x4.add(s11, i32x4.dot_i16x8_s(i16x8.add(dotPairs(p0, k1), dotPairs(p1, k3)), ones));
    p0 = splatLane2(low);
    p1 = splatLane2(high);
    s20 = i32x4.add(s20, i32x4.dot_i16x8_s(i16x8.add(dotPairs(p0, k0), dotPairs(p1, k2)), ones));
    s21 = i32x4.add(s21, i32x4.dot_i16x8_s(i16x8.add(dotPairs(p0, k1), dotPairs(p1, k3)), ones));
    p0 = splatLane3(low);
    p1 = splatLane3(high);
    s30 = i32x4.add(s30, i32x4.dot_i16x8_s(i16x8.add(dotPairs(p0, k0), dotPairs(p1, k2)), ones));
    s31 = i32x4.add(s31, i32x4.dot_i16x8_s(i16x8.add(dotPairs(p0, k1), dotPairs(p1, k3)), ones));
    keys += 64;
    q += 32;
  } while (keys < end);
  const scale0 = v128.load(keyScales);
  const scale1 = v128.load(keyScales, 16);
  let scale = v128.load32_splat(scales);
  v128.store(scores, f32x4.mul(f32x4.mul(f32x4.convert_i32x4_s(s00), scale), scale0));
  v128.store(scores, f32x4.mul(f32x4.mul(f32x4.convert_i32x4_s(s01), scale), scale1), 16);
  scale = v128.load32_splat(scales, 4);
  v128.store(scores, f32x4.mul(f32x4.mul(f32x4.convert_i32x4_s(s10), scale), scale0), 128);
  v128.store(scores, f32x4.mul(f32x4.mul(f32x4.convert_i32x4_s(s11), scale), scale1), 144);
  scale = v128.load32_splat(scales, 8);
  v128.store(scores, f32x4.mul(f32x4.mul(f32x4.convert_i32x4_s(s20), scale), scale0), 256);
  v128.store(scores, f32x4.mul(f32x4.mul(f32x4.convert_i32x4_s(s21), scale), scale1), 272);
  scale = v128.load32_splat(scales, 12);
  v128.store(scores, f32x4.mul(f32x4.mul(f32x4.convert_i32x4_s(s30), scale), scale0), 384);
  v128.store(scores, f32x4.mul(f32x4.mul(f32x4.convert_i32x4_s(s31), scale), scale1), 400);
}

/** ACCUMULATORS += WEIGHT_SCALES · WEIGHTS × values [headDim/8][8 quads of tokens][8 d][4 tokens]. */
export function addWeightedBlock(values: usize, headDim: i32): void {
  const end = values + (headDim << 5);
  let sums = ACCUMULATORS;
  do {
    // s{query}{half}: i16x8, lane pairs of d = 4·half + lane/2.
    let s00 = i16x8.splat(0);
    let s01 = s00;
    let s10 = s00;
    let s11 = s00;
    let s20 = s00;
    let s21 = s00;
    let s30 = s00;
    let s31 = s00;
    let p: v128;
    let v0: v128;
    let v1: v128;
    // Tokens 0 … 3.
    v0 = v128.load(values);
    v1 = v128.load(values, 16);
    p = v128.load32_splat(WEIGHTS);
    s00 = i16x8.add(s00, dotPairs(v0, p));
    s01 = i16x8.add(s01, dotPairs(v1, p));
    p = v128.load32_splat(WEIGHTS, 4);
    s10 = i16x8.add(s10, dotPairs(v0, p));
    s11 = i16x8.add(s11, dotPairs(v1, p));
    p = v128.load32_splat(WEIGHTS, 8);
    s20 = i16x8.add(s20, dotPairs(v0, p));
    s21 = i16x8.add(s21, dotPairs(v1, p));
    p = v128.load32_splat(WEIGHTS, 12);
    s30 = i16x8.add(s30, dotPairs(v0, p));
    s31 = i16x8.add(s31, dotPairs(v1, p));
    // Tokens 4 … 7.
    v0 = v128.load(values, 32);
    v1 = v128.load(values, 48);
    p = v128.load32_splat(WEIGHTS, 16);
    s00 = i16x8.add(s00, dotPairs(v0, p));
    s01 = i16x8.add(s01, dotPairs(v1, p));
    p = v128.load32_splat(WEIGHTS, 20);
    s10 = i16x8.add(s10, dotPairs(v0, p));
    s11 = i16x8.add(s11, dotPairs(v1, p));
    p = v128.load32_splat(WEIGHTS, 24);
    s20 = i16x8.add(s20, dotPairs(v0, p));
    s21 = i16x8.add(s21, dotPairs(v1, p));
    p = v128.load32_splat(WEIGHTS, 28);
    s30 = i16x8.add(s30, dotPairs(v0, p));
    s31 = i16x8.add(s31, dotPairs(v1, p));
    // Tokens 8 … 11.
    v0 = v128.load(values, 64);
    v1 = v128.load(values, 80);
    p = v128.load32_splat(WEIGHTS, 32);
    s00 = i16x8.add(s00, dotPairs(v0, p));
    s01 = i16x8.add(s01, dotPairs(v1, p));
    p = v128.load32_splat(WEIGHTS, 36);
    s10 = i16x8.add(s10, dotPairs(v0, p));
    s11 = i16x8.add(s11, dotPairs(v1, p));
    p = v128.load32_splat(WEIGHTS, 40);
    s20 = i16x8.add(s20, dotPairs(v0, p));
    s21 = i16x8.add(s21, dotPairs(v1, p));
    p = v128.load32_splat(WEIGHTS, 44);
    s30 = i16x8.add(s30, dotPairs(v0, p));
    s31 = i16x8.add(s31, dotPairs(v1, p));
    // Tokens 12 … 15.
    v0 = v128.load(values, 96);
    v1 = v128.load(values, 112);
    p = v128.load32_splat(WEIGHTS, 48);
    s00 = i16x8.add(s00, dotPairs(v0, p));
    s01 = i16x8.add(s01, dotPairs(v1, p));
    p = v128.load32_splat(WEIGHTS, 52);
    s10 = i16x8.add(s10, dotPairs(v0, p));
    s11 = i16x8.add(s11, dotPairs(v1, p));
    p = v128.load32_splat(WEIGHTS, 56);
    s20 = i16x8.add(s20, dotPairs(v0, p));
    s21 = i16x8.add(s21, dotPairs(v1, p));
    p = v128.load32_splat(WEIGHTS, 60);
    s30 = i16x8.add(s30, dotPairs(v0, p));
    s31 = i16x8.add(s31, dotPairs(v1, p));
    // Tokens 16 … 19.
    v0 = v128.load(values, 128);
    v1 = v128.load(values, 144);
    p = v128.load32_splat(WEIGHTS, 64);
    s00 = i16x8.add(s00, dotPairs(v0, p));
    s01 = i16x8.add(s01, dotPairs(v1, p));
    p = v128.load32_splat(WEIGHTS, 68);
    s10 = i16x8.add(s10, dotPairs(v0, p));
    s11 = i16x8.add(s11, dotPairs(v1, p));
    p = v128.load32_splat(WEIGHTS, 72);
    s20 = i16x8.add(s20, dotPairs(v0, p));
    s21 = i16x8.add(s21, dotPairs(v1, p));
    p = v128.load32_splat(WEIGHTS, 76);
    s30 = i16x8.add(s30, dotPairs(v0, p));
    s31 = i16x8.add(s31, dotPairs(v1, p));
    // Tokens 20 … 23.
    v0 = v128.load(values, 160);
    v1 = v128.load(values, 176);
    p = v128.load32_splat(WEIGHTS, 80);
    s00 = i16x8.add(s00, dotPairs(v0, p));
    s01 = i16x8.add(s01, dotPairs(v1, p));
    p = v128.load32_splat(WEIGHTS, 84);
    s10 = i16x8.add(s10, dotPairs(v0, p));
    s11 = i16x8.add(s11, dotPairs(v1, p));
    p = v128.load32_splat(WEIGHTS, 88);
    s20 = i16x8.add(s20, dotPairs(v0, p));
    s21 = i16x8.add(s21, dotPairs(v1, p));
    p = v128.load32_splat(WEIGHTS, 92);
    s30 = i16x8.add(s30, dotPairs(v0, p));
    s31 = i16x8.add(s31, dotPairs(v1, p));
    // Tokens 24 … 27.
    v0 = v128.load(values, 192);
    v1 = v128.load(values, 208);
    p = v128.load32_splat(WEIGHTS, 96);
    s00 = i16x8.add(s00, dotPairs(v0, p));
    s01 = i16x8.add(s01, dotPairs(v1, p));
    p = v128.load32_splat(WEIGHTS, 100);
    s10 = i16x8.add(s10, dotPairs(v0, p));
    s11 = i16x8.add(s11, dotPairs(v1, p));
    p = v128.load32_splat(WEIGHTS, 104);
    s20 = i16x8.add(s20, dotPairs(v0, p));
    s21 = i16x8.add(s21, dotPairs(v1, p));
    p = v128.load32_splat(WEIGHTS, 108);
    s30 = i16x8.add(s30, dotPairs(v0, p));
    s31 = i16x8.add(s31, dotPairs(v1, p));
    // Tokens 28 … 31.
    v0 = v128.load(values, 224);
    v1 = v128.load(values, 240);
    p = v128.load32_splat(WEIGHTS, 112);
    s00 = i16x8.add(s00, dotPairs(v0, p));
    s01 = i16x8.add(s01, dotPairs(v1, p));
    p = v128.load32_splat(WEIGHTS, 116);
    s10 = i16x8.add(s10, dotPairs(v0, p));
    s11 = i16x8.add(s11, dotPairs(v1, p));
    p = v128.load32_splat(WEIGHTS, 120);
    s20 = i16x8.add(s20, dotPairs(v0, p));
    s21 = i16x8.add(s21, dotPairs(v1, p));
    p = v128.load32_splat(WEIGHTS, 124);
    s30 = i16x8.add(s30, dotPairs(v0, p));
    s31 = i16x8.add(s31, dotPairs(v1, p));
    const ones = onesI16();
    let scale = v128.load32_splat(WEIGHT_SCALES);
    v128.store(sums, addScaled(s00, ones, scale, v128.load(sums)));
    v128.store(sums, addScaled(s01, ones, scale, v128.load(sums, 16)), 16);
    scale = v128.load32_splat(WEIGHT_SCALES, 4);
    v128.store(sums, addScaled(s10, ones, scale, v128.load(sums, 32)), 32);
    v128.store(sums, addScaled(s11, ones, scale, v128.load(sums, 48)), 48);
    scale = v128.load32_splat(WEIGHT_SCALES, 8);
    v128.store(sums, addScaled(s20, ones, scale, v128.load(sums, 64)), 64);
    v128.store(sums, addScaled(s21, ones, scale, v128.load(sums, 80)), 80);
    scale = v128.load32_splat(WEIGHT_SCALES, 12);
    v128.store(sums, addScaled(s30, ones, scale, v128.load(sums, 96)), 96);
    v128.store(sums, addScaled(s31, ones, scale, v128.load(sums, 112)), 112);
    sums += 128;
    values += 256;
  } while (values < end);
}

/** acc + scale · (sums of neighbouring i16), f32x4. */
@inline
function addScaled(pairs_i16x8: v128, ones: v128, scale: v128, acc: v128): v128 {
  return multiplyAdd(f32x4.convert_i32x4_s(i32x4.dot_i16x8_s(pairs_i16x8, ones)), scale, acc);
}
