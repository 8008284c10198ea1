/**
 * The two matrix products of attention (arXiv 1706.03762) in float32, for networks whose keys have channels of very
 * different sizes, as Qwen2's have: scores = scale · q × keysᵀ, and out = scores ×
 * values.
 *
 * Both are x (rows, depth) × y (depth, 8 columns): the columns are the tokens of a key tile in one, eight dimensions of
 * the values in the other. So both run on the same two blocks, four rows and one row.
 */
import { TILE } from '../layout';
import { multiplyAdd, splatLane0, splatLane1, splatLane2, splatLane3 } from '../simd';

/** Values of so many tokens (16 KiB at headDim 64) stay in the first-level cache while all rows pass over them. */
const VALUE_TOKENS: i32 = 64;

/**
 * scores (rows of stride scoreStride; count, rounded up to 8) = scale · q (rows of stride qRowStride; headDim) × keysᵀ.
 */
export function attentionScores(
  q: usize,
  qRowStride: i32,
  rows: i32,
  headDim: i32,
  keys: usize,
  count: i32,
  scale: f32,
  scores: usize,
  scoreStride: i32,
): void {
  const tileBytes = (headDim * TILE) << 2;
  for (let token = 0; token < count; token += TILE) {
    multiplyColumns(q, qRowStride << 2, rows, headDim, keys, TILE * 4, scale, scores, scoreStride << 2, 0);
    keys += tileBytes;
    scores += TILE * 4;
  }
}

/**
 * out (rows of stride outRowStride; headDim) = or, if accumulate, += scores (rows of stride scoreStride; count) ×
 * values (count, headDim).
 */
export function attentionMix(
  scores: usize,
  scoreStride: i32,
  rows: i32,
  values: usize,
  count: i32,
  headDim: i32,
  out: usize,
  outRowStride: i32,
  accumulate: i32,
): void {
  const valueBytes = headDim << 2;
  for (let token = 0; token < count; token += VALUE_TOKENS) {
    const depth = min(VALUE_TOKENS, count - token);
    const x = scores + (token << 2);
    const y = values + token * valueBytes;
    for (let d = 0; d < valueBytes; d += 32) {
      multiplyColumns(x, scoreStride << 2, rows, depth, y + d, valueBytes, 1, out + d, outRowStride << 2, accumulate);
    }
    accumulate = 1;
  }
}

/** out (rows, 8) = or, if accumulate, += scale · x (rows, depth) × y (depth, 8). Distances between rows in bytes. */
function multiplyColumns(
  x: usize,
  xRowBytes: i32,
  rows: i32,
  depth: i32,
  y: usize,
  yRowBytes: i32,
  scale: f32,
  out: usize,
  outRowBytes: i32,
  accumulate: i32,
): void {
  const scales = f32x4.splat(scale);
  for (; rows >= 4; rows -= 4) {
    fourRows(x, xRowBytes, depth, y, yRowBytes, scales, out, outRowBytes, accumulate);
    x += xRowBytes << 2;
    out += outRowBytes << 2;
  }
  for (; rows > 0; rows--) {
    oneRow(x, depth, y, yRowBytes, scales, out, accumulate);
    x += xRowBytes;
    out += outRowBytes;
  }
}

@inline
function fourRows(
  x: usize,
  xRowBytes: i32,
  depth: i32,
  y: usize,
  yRowBytes: i32,
  scales: v128,
  out: usize,
  outRowBytes: i32,
  accumulate: i32,
): void {
  let x1 = x + xRowBytes;
  let x2 = x1 + xRowBytes;
  let x3 = x2 + xRowBytes;
  // sum{row}{half}
  let sum00_f32x4 = f32x4.splat(0);
  let sum01_f32x4 = sum00_f32x4;
  let sum10_f32x4 = sum00_f32x4;
  let sum11_f32x4 = sum00_f32x4;
  let sum20_f32x4 = sum00_f32x4;
  let sum21_f32x4 = sum00_f32x4;
  let sum30_f32x4 = sum00_f32x4;
  let sum31_f32x4 = sum00_f32x4;
  let y0: v128;
  let y1: v128;
  let x_f32x4: v128;
  let left = depth;
  for (; left >= 4; left -= 4) {
    const q0 = v128.load(x);
    const q1 = v128.load(x1);
    const q2 = v128.load(x2);
    const q3 = v128.load(x3);

    y0 = v128.load(y);
    y1 = v128.load(y, 16);
    x_f32x4 = splatLane0(q0);
    sum00_f32x4 = multiplyAdd(x_f32x4, y0, sum00_f32x4);
    sum01_f32x4 = multiplyAdd(x_f32x4, y1, sum01_f32x4);
    x_f32x4 = splatLane0(q1);
    sum10_f32x4 = multiplyAdd(x_f32x4, y0, sum10_f32x4);
    sum11_f32x4 = multiplyAdd(x_f32x4, y1, sum11_f32x4);
    x_f32x4 = splatLane0(q2);
    sum20_f32x4 = multiplyAdd(x_f32x4, y0, sum20_f32x4);
    sum21_f32x4 = multiplyAdd(x_f32x4, y1, sum21_f32x4);
    x_f32x4 = splatLane0(q3);
    sum30_f32x4 = multiplyAdd(x_f32x4, y0, sum30_f32x4);
    sum31_f32x4 = multiplyAdd(x_f32x4, y1, sum31_f32x4);
    y += yRowBytes;

    y0 = v128.load(y);
    y1 = v128.load(y, 16);
    x_f32x4 = splatLane1(q0);
    sum00_f32x4 = multiplyAdd(x_f32x4, y0, sum00_f32x4);
    sum01_f32x4 = multiplyAdd(x_f32x4, y1, sum01_f32x4);
    x_f32x4 = splatLane1(q1);
    sum10_f32x4 = multiplyAdd(x_f32x4, y0, sum10_f32x4);
    sum11_f32x4 = multiplyAdd(x_f32x4, y1, sum11_f32x4);
    x_f32x4 = splatLane1(q2);
    sum20_f32x4 = multiplyAdd(x_f32x4, y0, sum20_f32x4);
    sum21_f32x4 = multiplyAdd(x_f32x4, y1, sum21_f32x4);
    x_f32x4 = splatLane1(q3);
    sum30_f32x4 = multiplyAdd(x_f32x4, y0, sum30_f32x4);
    sum31_f32x4 = multiplyAdd(x_f32x4, y1, sum31_f32x4);
    y += yRowBytes;

    y0 = v128.load(y);
    y1 = v128.load(y, 16);
    x_f32x4 = splatLane2(q0);
    sum00_f32x4 = multiplyAdd(x_f32x4, y0, sum00_f32x4);
    sum01_f32x4 = multiplyAdd(x_f32x4, y1, sum01_f32x4);
    x_f32x4 = splatLane2(q1);
    sum10_f32x4 = multiplyAdd(x_f32x4, y0, sum10_f32x4);
    sum11_f32x4 = multiplyAdd(x_f32x4, y1, sum11_f32x4);
    x_f32x4 = splatLane2(q2);
    sum20_f32x4 = multiplyAdd(x_f32x4, y0, sum20_f32x4);
    sum21_f32x4 = multiplyAdd(x_f32x4, y1, sum21_f32x4);
    x_f32x4 = splatLane2(q3);
    sum30_f32x4 = multiplyAdd(x_f32x4, y0, sum30_f32x4);
    sum31_f32x4 = multiplyAdd(x_f32x4, y1, sum31_f32x4);
    y += yRowBytes;

    y0 = v128.load(y);
    y1 = v128.load(y, 16);
    x_f32x4 = splatLane3(q0);
    sum00_f32x4 = multiplyAdd(x_f32x4, y0, sum00_f32x4);
    sum01_f32x4 = multiplyAdd(x_f32x4, y1, sum01_f32x4);
    x_f32x4 = splatLane3(q1);
    sum10_f32x4 = multiplyAdd(x_f32x4, y0, sum10_f32x4);
    sum11_f32x4 = multiplyAdd(x_f32x4, y1, sum11_f32x4);
    x_f32x4 = splatLane3(q2);
    sum20_f32x4 = multiplyAdd(x_f32x4, y0, sum20_f32x4);
    sum21_f32x4 = multiplyAdd(x_f32x4, y1, sum21_f32x4);
    x_f32x4 = splatLane3(q3);
    sum30_f32x4 = multiplyAdd(x_f32x4, y0, sum30_f32x4);
    sum31_f32x4 = multiplyAdd(x_f32x4, y1, sum31_f32x4);
    y += yRowBytes;

    x += 16;
    x1 += 16;
    x2 += 16;
    x3 += 16;
  }
  for (; left > 0; left--) {
    y0 = v128.load(y);
    y1 = v128.load(y, 16);
    x_f32x4 = v128.load32_splat(x);
    sum00_f32x4 = multiplyAdd(x_f32x4, y0, sum00_f32x4);
    sum01_f32x4 = multiplyAdd(x_f32x4, y1, sum01_f32x4);
    x_f32x4 = v128.load32_splat(x1);
    sum10_f32x4 = multiplyAdd(x_f32x4, y0, sum10_f32x4);
    sum11_f32x4 = multiplyAdd(x_f32x4, y1, sum11_f32x4);
    x_f32x4 = v128.load32_splat(x2);
    sum20_f32x4 = multiplyAdd(x_f32x4, y0, sum20_f32x4);
    sum21_f32x4 = multiplyAdd(x_f32x4, y1, sum21_f32x4);
    x_f32x4 = v128.load32_splat(x3);
    sum30_f32x4 = multiplyAdd(x_f32x4, y0, sum30_f32x4);
    sum31_f32x4 = multiplyAdd(x_f32x4, y1, sum31_f32x4);
    y += yRowBytes;
    x += 4;
    x1 += 4;
    x2 += 4;
    x3 += 4;
  }
  writeScaled(out, sum00_f32x4, sum01_f32x4, scales, accumulate);
  out += outRowBytes;
  writeScaled(out, sum10_f32x4, sum11_f32x4, scales, accumulate);
  out += outRowBytes;
  writeScaled(out, sum20_f32x4, sum21_f32x4, scales, accumulate);
  out += outRowBytes;
  writeScaled(out, sum30_f32x4, sum31_f32x4, scales, accumulate);
}

/** Even and odd depths are summed apart: four independent sums hide the latency of the multiplication. */
@inline
function oneRow(
  x: usize,
  depth: i32,
  y: usize,
  yRowBytes: i32,
  scales: v128,
  out: usize,
  accumulate: i32,
): void {
  let even0_f32x4 = f32x4.splat(0);
  let even1_f32x4 = even0_f32x4;
  let odd0_f32x4 = even0_f32x4;
  let odd1_f32x4 = even0_f32x4;
  let left = depth;
  for (; left >= 2; left -= 2) {
    const even = v128.load32_splat(x);
    even0_f32x4 = multiplyAdd(even, v128.load(y), even0_f32x4);
    even1_f32x4 = multiplyAdd(even, v128.load(y, 16), even1_f32x4);
    y += yRowBytes;
    const odd = v128.load32_splat(x, 4);
    odd0_f32x4 = multiplyAdd(odd, v128.load(y), odd0_f32x4);
    odd1_f32x4 = multiplyAdd(odd, v128.load(y, 16), odd1_f32x4);
    y += yRowBytes;
    x += 8;
  }
  if (left) {
    const even = v128.load32_splat(x);
    even0_f32x4 = multiplyAdd(even, v128.load(y), even0_f32x4);
    even1_f32x4 = multiplyAdd(even, v128.load(y, 16), even1_f32x4);
  }
  writeScaled(out, f32x4.add(even0_f32x4, odd0_f32x4), f32x4.add(even1_f32x4, odd1_f32x4), scales, accumulate);
}

@inline
function writeScaled(out: usize, sum0_f32x4: v128, sum1_f32x4: v128, scales: v128, accumulate: i32): void {
  const values0 = f32x4.mul(sum0_f32x4, scales);
  const values1 = f32x4.mul(sum1_f32x4, scales);
  v128.store(out, accumulate ? f32x4.add(v128.load(out), values0) : values0);
  v128.store(out, accumulate ? f32x4.add(v128.load(out, 16), values1) : values1, 16);
}
