/** The two matrix products of attention, four queries at a time: one tile of keys, one block of values. */
import { dotPairs, multiplyAdd, onesI16, splatLane0, splatLane1, splatLane2, splatLane3 } from '../simd';

const LARGEST_HEAD_DIM: i32 = 256;

// The operands of one block of values are at constant addresses: see layout.ts.
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
  // sum{query}{half}: i32x4 of tokens 4·half … 4·half + 3.
  const start = v128.load(sums);
  let sum00_i32x4 = splatLane0(start);
  let sum01_i32x4 = sum00_i32x4;
  let sum10_i32x4 = splatLane1(start);
  let sum11_i32x4 = sum10_i32x4;
  let sum20_i32x4 = splatLane2(start);
  let sum21_i32x4 = sum20_i32x4;
  let sum30_i32x4 = splatLane3(start);
  let sum31_i32x4 = sum30_i32x4;
  const end = keys + (headDim << 3);
  do {
    const k0 = v128.load(keys);
    const k1 = v128.load(keys, 16);
    const k2 = v128.load(keys, 32);
    const k3 = v128.load(keys, 48);
    const low = v128.load(q);
    const high = v128.load(q, 16);
    let q0 = splatLane0(low);
    let q1 = splatLane0(high);
    sum00_i32x4 = i32x4.add(sum00_i32x4, i32x4.dot_i16x8_s(i16x8.add(dotPairs(q0, k0), dotPairs(q1, k2)), ones));
    sum01_i32x4 = i32x4.add(sum01_i32x4, i32x4.dot_i16x8_s(i16x8.add(dotPairs(q0, k1), dotPairs(q1, k3)), ones));
    q0 = splatLane1(low);
    q1 = splatLane1(high);
    sum10_i32x4 = i32x4.add(sum10_i32x4, i32x4.dot_i16x8_s(i16x8.add(dotPairs(q0, k0), dotPairs(q1, k2)), ones));
    sum11_i32x4 = i32x4.add(sum11_i32x4, i32x4.dot_i16x8_s(i16x8.add(dotPairs(q0, k1), dotPairs(q1, k3)), ones));
    q0 = splatLane2(low);
    q1 = splatLane2(high);
    sum20_i32x4 = i32x4.add(sum20_i32x4, i32x4.dot_i16x8_s(i16x8.add(dotPairs(q0, k0), dotPairs(q1, k2)), ones));
    sum21_i32x4 = i32x4.add(sum21_i32x4, i32x4.dot_i16x8_s(i16x8.add(dotPairs(q0, k1), dotPairs(q1, k3)), ones));
    q0 = splatLane3(low);
    q1 = splatLane3(high);
    sum30_i32x4 = i32x4.add(sum30_i32x4, i32x4.dot_i16x8_s(i16x8.add(dotPairs(q0, k0), dotPairs(q1, k2)), ones));
    sum31_i32x4 = i32x4.add(sum31_i32x4, i32x4.dot_i16x8_s(i16x8.add(dotPairs(q0, k1), dotPairs(q1, k3)), ones));
    keys += 64;
    q += 32;
  } while (keys < end);
  const scale0 = v128.load(keyScales);
  const scale1 = v128.load(keyScales, 16);
  let scale = v128.load32_splat(scales);
  v128.store(scores, f32x4.mul(f32x4.mul(f32x4.convert_i32x4_s(sum00_i32x4), scale), scale0));
  v128.store(scores, f32x4.mul(f32x4.mul(f32x4.convert_i32x4_s(sum01_i32x4), scale), scale1), 16);
  scale = v128.load32_splat(scales, 4);
  v128.store(scores, f32x4.mul(f32x4.mul(f32x4.convert_i32x4_s(sum10_i32x4), scale), scale0), 128);
  v128.store(scores, f32x4.mul(f32x4.mul(f32x4.convert_i32x4_s(sum11_i32x4), scale), scale1), 144);
  scale = v128.load32_splat(scales, 8);
  v128.store(scores, f32x4.mul(f32x4.mul(f32x4.convert_i32x4_s(sum20_i32x4), scale), scale0), 256);
  v128.store(scores, f32x4.mul(f32x4.mul(f32x4.convert_i32x4_s(sum21_i32x4), scale), scale1), 272);
  scale = v128.load32_splat(scales, 12);
  v128.store(scores, f32x4.mul(f32x4.mul(f32x4.convert_i32x4_s(sum30_i32x4), scale), scale0), 384);
  v128.store(scores, f32x4.mul(f32x4.mul(f32x4.convert_i32x4_s(sum31_i32x4), scale), scale1), 400);
}

/** ACCUMULATORS += WEIGHT_SCALES · WEIGHTS × values [headDim/8][8 quads of tokens][8 d][4 tokens]. */
export function addWeightedBlock(values: usize, headDim: i32): void {
  const end = values + (headDim << 5);
  let sums = ACCUMULATORS;
  do {
    // sum{query}{half}: i16x8, lane pairs of d = 4·half + lane/2.
    let sum00_i16x8 = i16x8.splat(0);
    let sum01_i16x8 = sum00_i16x8;
    let sum10_i16x8 = sum00_i16x8;
    let sum11_i16x8 = sum00_i16x8;
    let sum20_i16x8 = sum00_i16x8;
    let sum21_i16x8 = sum00_i16x8;
    let sum30_i16x8 = sum00_i16x8;
    let sum31_i16x8 = sum00_i16x8;
    let weight_u8x16: v128;
    let v0: v128;
    let v1: v128;
    // Tokens 0 … 3.
    v0 = v128.load(values);
    v1 = v128.load(values, 16);
    weight_u8x16 = v128.load32_splat(WEIGHTS);
    sum00_i16x8 = i16x8.add(sum00_i16x8, dotPairs(v0, weight_u8x16));
    sum01_i16x8 = i16x8.add(sum01_i16x8, dotPairs(v1, weight_u8x16));
    weight_u8x16 = v128.load32_splat(WEIGHTS, 4);
    sum10_i16x8 = i16x8.add(sum10_i16x8, dotPairs(v0, weight_u8x16));
    sum11_i16x8 = i16x8.add(sum11_i16x8, dotPairs(v1, weight_u8x16));
    weight_u8x16 = v128.load32_splat(WEIGHTS, 8);
    sum20_i16x8 = i16x8.add(sum20_i16x8, dotPairs(v0, weight_u8x16));
    sum21_i16x8 = i16x8.add(sum21_i16x8, dotPairs(v1, weight_u8x16));
    weight_u8x16 = v128.load32_splat(WEIGHTS, 12);
    sum30_i16x8 = i16x8.add(sum30_i16x8, dotPairs(v0, weight_u8x16));
    sum31_i16x8 = i16x8.add(sum31_i16x8, dotPairs(v1, weight_u8x16));
    // Tokens 4 … 7.
    v0 = v128.load(values, 32);
    v1 = v128.load(values, 48);
    weight_u8x16 = v128.load32_splat(WEIGHTS, 16);
    sum00_i16x8 = i16x8.add(sum00_i16x8, dotPairs(v0, weight_u8x16));
    sum01_i16x8 = i16x8.add(sum01_i16x8, dotPairs(v1, weight_u8x16));
    weight_u8x16 = v128.load32_splat(WEIGHTS, 20);
    sum10_i16x8 = i16x8.add(sum10_i16x8, dotPairs(v0, weight_u8x16));
    sum11_i16x8 = i16x8.add(sum11_i16x8, dotPairs(v1, weight_u8x16));
    weight_u8x16 = v128.load32_splat(WEIGHTS, 24);
    sum20_i16x8 = i16x8.add(sum20_i16x8, dotPairs(v0, weight_u8x16));
    sum21_i16x8 = i16x8.add(sum21_i16x8, dotPairs(v1, weight_u8x16));
    weight_u8x16 = v128.load32_splat(WEIGHTS, 28);
    sum30_i16x8 = i16x8.add(sum30_i16x8, dotPairs(v0, weight_u8x16));
    sum31_i16x8 = i16x8.add(sum31_i16x8, dotPairs(v1, weight_u8x16));
    // Tokens 8 … 11.
    v0 = v128.load(values, 64);
    v1 = v128.load(values, 80);
    weight_u8x16 = v128.load32_splat(WEIGHTS, 32);
    sum00_i16x8 = i16x8.add(sum00_i16x8, dotPairs(v0, weight_u8x16));
    sum01_i16x8 = i16x8.add(sum01_i16x8, dotPairs(v1, weight_u8x16));
    weight_u8x16 = v128.load32_splat(WEIGHTS, 36);
    sum10_i16x8 = i16x8.add(sum10_i16x8, dotPairs(v0, weight_u8x16));
    sum11_i16x8 = i16x8.add(sum11_i16x8, dotPairs(v1, weight_u8x16));
    weight_u8x16 = v128.load32_splat(WEIGHTS, 40);
    sum20_i16x8 = i16x8.add(sum20_i16x8, dotPairs(v0, weight_u8x16));
    sum21_i16x8 = i16x8.add(sum21_i16x8, dotPairs(v1, weight_u8x16));
    weight_u8x16 = v128.load32_splat(WEIGHTS, 44);
    sum30_i16x8 = i16x8.add(sum30_i16x8, dotPairs(v0, weight_u8x16));
    sum31_i16x8 = i16x8.add(sum31_i16x8, dotPairs(v1, weight_u8x16));
    // Tokens 12 … 15.
    v0 = v128.load(values, 96);
    v1 = v128.load(values, 112);
    weight_u8x16 = v128.load32_splat(WEIGHTS, 48);
    sum00_i16x8 = i16x8.add(sum00_i16x8, dotPairs(v0, weight_u8x16));
    sum01_i16x8 = i16x8.add(sum01_i16x8, dotPairs(v1, weight_u8x16));
    weight_u8x16 = v128.load32_splat(WEIGHTS, 52);
    sum10_i16x8 = i16x8.add(sum10_i16x8, dotPairs(v0, weight_u8x16));
    sum11_i16x8 = i16x8.add(sum11_i16x8, dotPairs(v1, weight_u8x16));
    weight_u8x16 = v128.load32_splat(WEIGHTS, 56);
    sum20_i16x8 = i16x8.add(sum20_i16x8, dotPairs(v0, weight_u8x16));
    sum21_i16x8 = i16x8.add(sum21_i16x8, dotPairs(v1, weight_u8x16));
    weight_u8x16 = v128.load32_splat(WEIGHTS, 60);
    sum30_i16x8 = i16x8.add(sum30_i16x8, dotPairs(v0, weight_u8x16));
    sum31_i16x8 = i16x8.add(sum31_i16x8, dotPairs(v1, weight_u8x16));
    // Tokens 16 … 19.
    v0 = v128.load(values, 128);
    v1 = v128.load(values, 144);
    weight_u8x16 = v128.load32_splat(WEIGHTS, 64);
    sum00_i16x8 = i16x8.add(sum00_i16x8, dotPairs(v0, weight_u8x16));
    sum01_i16x8 = i16x8.add(sum01_i16x8, dotPairs(v1, weight_u8x16));
    weight_u8x16 = v128.load32_splat(WEIGHTS, 68);
    sum10_i16x8 = i16x8.add(sum10_i16x8, dotPairs(v0, weight_u8x16));
    sum11_i16x8 = i16x8.add(sum11_i16x8, dotPairs(v1, weight_u8x16));
    weight_u8x16 = v128.load32_splat(WEIGHTS, 72);
    sum20_i16x8 = i16x8.add(sum20_i16x8, dotPairs(v0, weight_u8x16));
    sum21_i16x8 = i16x8.add(sum21_i16x8, dotPairs(v1, weight_u8x16));
    weight_u8x16 = v128.load32_splat(WEIGHTS, 76);
    sum30_i16x8 = i16x8.add(sum30_i16x8, dotPairs(v0, weight_u8x16));
    sum31_i16x8 = i16x8.add(sum31_i16x8, dotPairs(v1, weight_u8x16));
    // Tokens 20 … 23.
    v0 = v128.load(values, 160);
    v1 = v128.load(values, 176);
    weight_u8x16 = v128.load32_splat(WEIGHTS, 80);
    sum00_i16x8 = i16x8.add(sum00_i16x8, dotPairs(v0, weight_u8x16));
    sum01_i16x8 = i16x8.add(sum01_i16x8, dotPairs(v1, weight_u8x16));
    weight_u8x16 = v128.load32_splat(WEIGHTS, 84);
    sum10_i16x8 = i16x8.add(sum10_i16x8, dotPairs(v0, weight_u8x16));
    sum11_i16x8 = i16x8.add(sum11_i16x8, dotPairs(v1, weight_u8x16));
    weight_u8x16 = v128.load32_splat(WEIGHTS, 88);
    sum20_i16x8 = i16x8.add(sum20_i16x8, dotPairs(v0, weight_u8x16));
    sum21_i16x8 = i16x8.add(sum21_i16x8, dotPairs(v1, weight_u8x16));
    weight_u8x16 = v128.load32_splat(WEIGHTS, 92);
    sum30_i16x8 = i16x8.add(sum30_i16x8, dotPairs(v0, weight_u8x16));
    sum31_i16x8 = i16x8.add(sum31_i16x8, dotPairs(v1, weight_u8x16));
    // Tokens 24 … 27.
    v0 = v128.load(values, 192);
    v1 = v128.load(values, 208);
    weight_u8x16 = v128.load32_splat(WEIGHTS, 96);
    sum00_i16x8 = i16x8.add(sum00_i16x8, dotPairs(v0, weight_u8x16));
    sum01_i16x8 = i16x8.add(sum01_i16x8, dotPairs(v1, weight_u8x16));
    weight_u8x16 = v128.load32_splat(WEIGHTS, 100);
    sum10_i16x8 = i16x8.add(sum10_i16x8, dotPairs(v0, weight_u8x16));
    sum11_i16x8 = i16x8.add(sum11_i16x8, dotPairs(v1, weight_u8x16));
    weight_u8x16 = v128.load32_splat(WEIGHTS, 104);
    sum20_i16x8 = i16x8.add(sum20_i16x8, dotPairs(v0, weight_u8x16));
    sum21_i16x8 = i16x8.add(sum21_i16x8, dotPairs(v1, weight_u8x16));
    weight_u8x16 = v128.load32_splat(WEIGHTS, 108);
    sum30_i16x8 = i16x8.add(sum30_i16x8, dotPairs(v0, weight_u8x16));
    sum31_i16x8 = i16x8.add(sum31_i16x8, dotPairs(v1, weight_u8x16));
    // Tokens 28 … 31.
    v0 = v128.load(values, 224);
    v1 = v128.load(values, 240);
    weight_u8x16 = v128.load32_splat(WEIGHTS, 112);
    sum00_i16x8 = i16x8.add(sum00_i16x8, dotPairs(v0, weight_u8x16));
    sum01_i16x8 = i16x8.add(sum01_i16x8, dotPairs(v1, weight_u8x16));
    weight_u8x16 = v128.load32_splat(WEIGHTS, 116);
    sum10_i16x8 = i16x8.add(sum10_i16x8, dotPairs(v0, weight_u8x16));
    sum11_i16x8 = i16x8.add(sum11_i16x8, dotPairs(v1, weight_u8x16));
    weight_u8x16 = v128.load32_splat(WEIGHTS, 120);
    sum20_i16x8 = i16x8.add(sum20_i16x8, dotPairs(v0, weight_u8x16));
    sum21_i16x8 = i16x8.add(sum21_i16x8, dotPairs(v1, weight_u8x16));
    weight_u8x16 = v128.load32_splat(WEIGHTS, 124);
    sum30_i16x8 = i16x8.add(sum30_i16x8, dotPairs(v0, weight_u8x16));
    sum31_i16x8 = i16x8.add(sum31_i16x8, dotPairs(v1, weight_u8x16));
    const ones = onesI16();
    let scale = v128.load32_splat(WEIGHT_SCALES);
    v128.store(sums, addScaled(sum00_i16x8, ones, scale, v128.load(sums)));
    v128.store(sums, addScaled(sum01_i16x8, ones, scale, v128.load(sums, 16)), 16);
    scale = v128.load32_splat(WEIGHT_SCALES, 4);
    v128.store(sums, addScaled(sum10_i16x8, ones, scale, v128.load(sums, 32)), 32);
    v128.store(sums, addScaled(sum11_i16x8, ones, scale, v128.load(sums, 48)), 48);
    scale = v128.load32_splat(WEIGHT_SCALES, 8);
    v128.store(sums, addScaled(sum20_i16x8, ones, scale, v128.load(sums, 64)), 64);
    v128.store(sums, addScaled(sum21_i16x8, ones, scale, v128.load(sums, 80)), 80);
    scale = v128.load32_splat(WEIGHT_SCALES, 12);
    v128.store(sums, addScaled(sum30_i16x8, ones, scale, v128.load(sums, 96)), 96);
    v128.store(sums, addScaled(sum31_i16x8, ones, scale, v128.load(sums, 112)), 112);
    sums += 128;
    values += 256;
  } while (values < end);
}

/** acc + scale · (sums of neighbouring i16), f32x4. */
@inline
function addScaled(pairs_i16x8: v128, ones: v128, scale: v128, acc: v128): v128 {
  return multiplyAdd(f32x4.convert_i32x4_s(i32x4.dot_i16x8_s(pairs_i16x8, ones)), scale, acc);
}
