/**
 * Attention (arXiv 1706.03762) on integers: softmax(scale · q × keysᵀ) × values over a quantized cache (layout.ts).
 *
 * Four queries at a time. Their scores over all tokens come first, for softmax needs the largest. Then, block of 32
 * tokens by block: powers of two, times the scales of the values, quantized to 7 bits with one scale a query and block;
 * and their product with the values, added up in float32. The division by the sum of the powers comes last.
 *
 * The weights of a block are scaled so that those of tokens 4i + j, for each j apart, add up to at most 124: not 127,
 * so that there is room for rounding up. Two such sums go to each i16 lane: |Σ weight · value| ≤ (2 · 124 + 16 · ½) ·
 * 127 = 32,512 < 32,767. So a block needs no wider sums, and its result is exact.
 */
import { ACCUMULATORS, addWeightedBlock, scoreTile, WEIGHT_SCALES, WEIGHTS } from './attention-products';
import { exp2 } from '../exp';
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
import { quantize16, SMALLEST_ABSMAX, store4Quads } from '../quantize';
import { maxLane, sumLanes } from '../simd';

/** Scores of four queries over a block of tokens. */
const BLOCK_SCORE_BYTES: i32 = 4 * BLOCK * 4;
/** Of a query. */
const BLOCK_ROW_BYTES: i32 = BLOCK * 4;
const LARGEST_WEIGHT_SUM: f32 = 124;
/** Larger than any number of tokens. */
const ALL: i32 = i32.MAX_VALUE;

/** i32 tokens that each of the four queries sees of the cache. */
const SEEN: usize = memory.data(16, 16);
/** f32 largest score of each of the four queries. */
const LARGEST: usize = memory.data(16, 16);
/** f32x4 partial sums of the powers of each of the four queries. */
const POWER_SUMS: usize = memory.data(64, 16);
/** f32x4 of each of the four queries: sums of the weights of tokens 4i + lane. */
const LANE_SUMS: usize = memory.data(64, 16);
/** f32 reciprocals of WEIGHT_SCALES. */
const INVERSE_SCALES: usize = memory.data(16, 16);
const LANE_INDEX: usize = memory.data<i32>(
  [
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30,
    31,
  ],
  16,
);

/** Bytes of scratch that `attend` needs for so many blocks of tokens. */
export function attentionScratchBytes(blocks: i32): i32 {
  return blocks * BLOCK_SCORE_BYTES;
}

/**
 * out (rows of stride outRowStride; heads, headDim) = attention of the rows · heads queries over `pages`, of which row
 * r sees the first count + countStep · r tokens (at least one), and, where suffixCount is not 0, of the same number of
 * suffixQueries over the first suffixCount tokens of suffixPages: one softmax over both. The key/value head is at
 * `place` in each page.
 */
export function attend(
  queries: usize,
  rows: i32,
  heads: i32,
  headDim: i32,
  place: i32,
  pages: usize,
  count: i32,
  countStep: i32,
  suffixQueries: usize,
  suffixPages: usize,
  suffixCount: i32,
  out: usize,
  outRowStride: i32,
  scratch: usize,
): void {
  const all = rows * heads;
  const suffixBlocks = blocksOf(suffixCount);
  const scores = scratch + suffixBlocks * BLOCK_SCORE_BYTES;
  for (let first = 0; first < all; first += 4) {
    const end = min(first + 4, all);
    const blocks = blocksOf(count + countStep * ((end - 1) / heads));
    scoreBlocks(suffixQueries, first, all, headDim, suffixPages, place, suffixBlocks, scratch);
    scoreBlocks(queries, first, all, headDim, pages, place, blocks, scores);
    for (let query = first; query < end; query++) {
      const seen = count + countStep * (query / heads);
      const row = (query - first) * BLOCK_ROW_BYTES;
      const suffixLargest = largestScore(scratch + row, suffixCount, -Infinity);
      store<i32>(SEEN + ((query - first) << 2), seen);
      store<f32>(LARGEST + ((query - first) << 2), largestScore(scores + row, seen, suffixLargest));
      v128.store(POWER_SUMS + ((query - first) << 4), f32x4.splat(0));
    }
    memory.fill(ACCUMULATORS, 0, headDim << 4);
    for (let block = 0; block < suffixBlocks; block++) {
      const kept = i32x4.splat(suffixCount - block * BLOCK);
      const at = blockAt(suffixPages, place, block);
      addBlock(scratch + block * BLOCK_SCORE_BYTES, at, headDim, kept, end - first);
    }
    for (let block = 0; block < blocks; block++) {
      const kept = i32x4.sub(v128.load(SEEN), i32x4.splat(block * BLOCK));
      addBlock(scores + block * BLOCK_SCORE_BYTES, blockAt(pages, place, block), headDim, kept, end - first);
    }
    for (let query = first; query < end; query++) {
      const row = query / heads;
      writeRow(query - first, headDim, out + ((row * outRowStride + (query - row * heads) * headDim) << 2));
    }
  }
}

@inline
function blocksOf(count: i32): i32 {
  return (count + BLOCK - 1) / BLOCK;
}

/** Scores of four queries from `first` on: [blocks][4 queries][32 tokens]. */
function scoreBlocks(
  queries: usize,
  first: i32,
  all: i32,
  headDim: i32,
  pages: usize,
  place: i32,
  blocks: i32,
  scores: usize,
): void {
  const q = queries + first * headDim;
  const scales = queryScales(queries, all, headDim) + (first << 2);
  const sums = querySums(queries, all, headDim) + (first << 2);
  for (let index = 0; index < blocks; index++) {
    const block = blockAt(pages, place, index);
    let keyScales = blockKeyScales(block, headDim);
    for (let tile = 0; tile < BLOCK / TILE; tile++) {
      scoreTile(q, sums, scales, headDim, block + tile * TILE * headDim, keyScales, scores + tile * TILE * 4);
      keyScales += TILE * 4;
    }
    scores += BLOCK_SCORE_BYTES;
  }
}

/** The largest of the first `count` scores of a query, or `largest` where it is larger. */
function largestScore(scores: usize, count: i32, largest: f32): f32 {
  let largest0 = f32x4.splat(largest);
  let largest1 = largest0;
  for (; count >= BLOCK; count -= BLOCK) {
    largest0 = f32x4.pmax(largest0, v128.load(scores));
    largest1 = f32x4.pmax(largest1, v128.load(scores, 16));
    largest0 = f32x4.pmax(largest0, v128.load(scores, 32));
    largest1 = f32x4.pmax(largest1, v128.load(scores, 48));
    largest0 = f32x4.pmax(largest0, v128.load(scores, 64));
    largest1 = f32x4.pmax(largest1, v128.load(scores, 80));
    largest0 = f32x4.pmax(largest0, v128.load(scores, 96));
    largest1 = f32x4.pmax(largest1, v128.load(scores, 112));
    scores += BLOCK_SCORE_BYTES;
  }
  for (let at = 0; at < count; at += 4) {
    // Scores past the count can be anything, NaN included: they are replaced before use.
    const mask = i32x4.gt_s(i32x4.splat(count), v128.load(LANE_INDEX + (at << 2)));
    largest0 = f32x4.pmax(largest0, v128.bitselect(v128.load(scores + (at << 2)), largest0, mask));
  }
  return maxLane(f32x4.pmax(largest0, largest1));
}

/**
 * One block of tokens into POWER_SUMS and ACCUMULATORS; lane i of `kept`: how many of them query i of `count` keeps.
 */
function addBlock(scores: usize, block: usize, headDim: i32, kept: v128, count: i32): void {
  const valueScales = blockValueScales(block, headDim);
  if (count == 4 && i32x4.all_true(i32x4.ge_s(kept, i32x4.splat(BLOCK)))) {
    weightsOfRow(scores, valueScales, ALL, 0);
    weightsOfRow(scores, valueScales, ALL, 1);
    weightsOfRow(scores, valueScales, ALL, 2);
    weightsOfRow(scores, valueScales, ALL, 3);
  } else {
    weightsOfSomeOfRow(scores, valueScales, i32x4.extract_lane(kept, 0), 0);
    if (count > 1) weightsOfSomeOfRow(scores, valueScales, i32x4.extract_lane(kept, 1), 1);
    if (count > 2) weightsOfSomeOfRow(scores, valueScales, i32x4.extract_lane(kept, 2), 2);
    if (count > 3) weightsOfSomeOfRow(scores, valueScales, i32x4.extract_lane(kept, 3), 3);
  }
  quantizeWeights(scores);
  addWeightedBlock(blockValues(block, headDim), headDim);
}

function weightsOfSomeOfRow(scores: usize, valueScales: usize, kept: i32, row: i32): void {
  weightsOfRow(scores, valueScales, kept, row);
}

/** A query's scores become powers of two, which go to its sum, and these become weights; LANE_SUMS of them. */
@inline
function weightsOfRow(scores: usize, valueScales: usize, kept: i32, row: i32): void {
  const offset = v128.load32_splat(LARGEST + (row << 2));
  const end = scores + (row + 1) * BLOCK_ROW_BYTES;
  let sums = v128.load(POWER_SUMS + (row << 4));
  let lanes = f32x4.splat(0);
  let index = LANE_INDEX;
  let at = end - BLOCK_ROW_BYTES;
  do {
    let power0 = exp2(f32x4.sub(v128.load(at), offset));
    let power1 = exp2(f32x4.sub(v128.load(at, 16), offset));
    let power2 = exp2(f32x4.sub(v128.load(at, 32), offset));
    let power3 = exp2(f32x4.sub(v128.load(at, 48), offset));
    let weight0 = f32x4.mul(power0, v128.load(valueScales));
    let weight1 = f32x4.mul(power1, v128.load(valueScales, 16));
    let weight2 = f32x4.mul(power2, v128.load(valueScales, 32));
    let weight3 = f32x4.mul(power3, v128.load(valueScales, 48));
    if (kept != ALL) {
      const count = i32x4.splat(kept);
      const mask0 = i32x4.gt_s(count, v128.load(index));
      const mask1 = i32x4.gt_s(count, v128.load(index, 16));
      const mask2 = i32x4.gt_s(count, v128.load(index, 32));
      const mask3 = i32x4.gt_s(count, v128.load(index, 48));
      power0 = v128.and(power0, mask0);
      power1 = v128.and(power1, mask1);
      power2 = v128.and(power2, mask2);
      power3 = v128.and(power3, mask3);
      weight0 = v128.and(weight0, mask0);
      weight1 = v128.and(weight1, mask1);
      weight2 = v128.and(weight2, mask2);
      weight3 = v128.and(weight3, mask3);
      index += 64;
    }
    sums = f32x4.add(sums, f32x4.add(f32x4.add(power0, power1), f32x4.add(power2, power3)));
    lanes = f32x4.add(lanes, f32x4.add(f32x4.add(weight0, weight1), f32x4.add(weight2, weight3)));
    v128.store(at, weight0);
    v128.store(at, weight1, 16);
    v128.store(at, weight2, 32);
    v128.store(at, weight3, 48);
    valueScales += 64;
    at += 64;
  } while (at < end);
  v128.store(POWER_SUMS + (row << 4), sums);
  v128.store(LANE_SUMS + (row << 4), lanes);
}

/** The weights of four queries (rows of 32 tokens) → WEIGHTS and WEIGHT_SCALES. */
@inline
function quantizeWeights(weights: usize): void {
  // Lane i: the largest of the four sums of query i.
  const row0 = v128.load(LANE_SUMS);
  const row1 = v128.load(LANE_SUMS, 16);
  const row2 = v128.load(LANE_SUMS, 32);
  const row3 = v128.load(LANE_SUMS, 48);
  const half01 = f32x4.pmax(v128.shuffle<i32>(row0, row1, 0, 4, 1, 5), v128.shuffle<i32>(row0, row1, 2, 6, 3, 7));
  const half23 = f32x4.pmax(v128.shuffle<i32>(row2, row3, 0, 4, 1, 5), v128.shuffle<i32>(row2, row3, 2, 6, 3, 7));
  const largest = f32x4.pmax(
    v128.shuffle<i32>(half01, half23, 0, 1, 4, 5),
    v128.shuffle<i32>(half01, half23, 2, 3, 6, 7),
  );
  // Negligible sums become 0, so that no division overflows.
  const isSome = f32x4.ge(largest, f32x4.splat(SMALLEST_ABSMAX));
  const limit = f32x4.splat(LARGEST_WEIGHT_SUM);
  v128.store(WEIGHT_SCALES, v128.and(f32x4.div(largest, limit), isSome));
  v128.store(INVERSE_SCALES, v128.and(f32x4.div(limit, largest), isSome));
  quantizeRowWeights(weights, v128.load32_splat(INVERSE_SCALES), WEIGHTS);
  quantizeRowWeights(weights + 128, v128.load32_splat(INVERSE_SCALES, 4), WEIGHTS + 4);
  quantizeRowWeights(weights + 256, v128.load32_splat(INVERSE_SCALES, 8), WEIGHTS + 8);
  quantizeRowWeights(weights + 384, v128.load32_splat(INVERSE_SCALES, 12), WEIGHTS + 12);
}

@inline
function quantizeRowWeights(weights: usize, inverse: v128, to: usize): void {
  store4Quads(to, quantize16(weights, 0, 1, 0, inverse));
  store4Quads(to + 64, quantize16(weights, 0, 1, 64, inverse));
}

/** out (headDim) = the accumulators of a query over the sum of its powers. */
@inline
function writeRow(row: i32, headDim: i32, out: usize): void {
  const inverse = f32x4.splat(1 / sumLanes(v128.load(POWER_SUMS + (row << 4))));
  let sums = ACCUMULATORS + (row << 5);
  const end = out + (headDim << 2);
  do {
    v128.store(out, f32x4.mul(v128.load(sums), inverse));
    v128.store(out, f32x4.mul(v128.load(sums, 16), inverse), 16);
    sums += 128;
    out += 32;
  } while (out < end);
}
