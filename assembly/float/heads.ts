/**
 * Heads in float32: their norm, their rotation, and their cache, which has keys in tiles of 8 tokens
 * [capacity/8][headDim][8] and values [capacity][headDim] of one key/value head.
 */
import { TILE } from '../layout';
import { inverseRms } from '../norm';

/** Normalises each head of x (rows of stride rowStride; heads, headDim) by weight (headDim), in place. */
export function normHeads(
  x: usize,
  rows: i32,
  rowStride: i32,
  heads: i32,
  headDim: i32,
  weight: usize,
  eps: f32,
): void {
  for (let row = 0; row < rows; row++) {
    let head = x + ((row * rowStride) << 2);
    for (let h = 0; h < heads; h++) {
      const gain = f32x4.splat(inverseRms(head, headDim, eps));
      for (let d = 0; d < headDim; d += 4) {
        const at = <usize>d << 2;
        v128.store(head + at, f32x4.mul(f32x4.mul(v128.load(head + at), gain), v128.load(weight + at)));
      }
      head += headDim << 2;
    }
  }
}

/**
 * Rotary position embedding (arXiv 2104.09864), rotate-half convention: dimension d is rotated with d + headDim/2.
 *
 * y = x rotated by its position. x, y: (rows of their strides; heads, headDim), y may be x. positions: i32 (rows).
 * table: (maxPosition, headDim): headDim/2 cosines, then headDim/2 sines; a negative position has the sines of its
 * absolute value negated.
 */
export function rotateHeads(
  x: usize,
  rows: i32,
  rowStride: i32,
  heads: i32,
  headDim: i32,
  positions: usize,
  table: usize,
  y: usize,
  yRowStride: i32,
): void {
  const half = <usize>headDim << 1;
  for (let row = 0; row < rows; row++) {
    const position = load<i32>(positions + (row << 2));
    const sign = f32x4.splat(position < 0 ? -1 : 1);
    const cosines = table + <usize>(abs(position) * headDim) * 4;
    for (let d: usize = 0; d < half; d += 16) {
      const cosine = v128.load(cosines + d);
      const sine = f32x4.mul(sign, v128.load(cosines + half + d));
      let from = x + ((row * rowStride) << 2) + d;
      let to = y + ((row * yRowStride) << 2) + d;
      for (let h = 0; h < heads; h++) {
        const first = v128.load(from);
        const second = v128.load(from + half);
        v128.store(to, f32x4.sub(f32x4.mul(first, cosine), f32x4.mul(second, sine)));
        v128.store(to + half, f32x4.add(f32x4.mul(second, cosine), f32x4.mul(first, sine)));
        from += half * 2;
        to += half * 2;
      }
    }
  }
}

/** Appends k, v (rows of stride rowStride; headDim) at token `offset`. */
export function storeFloatKeysValues(
  k: usize,
  v: usize,
  rows: i32,
  rowStride: i32,
  headDim: i32,
  keys: usize,
  values: usize,
  offset: i32,
): void {
  for (let row = 0; row < rows; row++) {
    const token = offset + row;
    const lane = token % TILE;
    let key = keys + (((token - lane) * headDim + lane) << 2);
    let value = values + ((token * headDim) << 2);
    const from = (row * rowStride) << 2;
    for (let d = 0; d < headDim; d += 4) {
      const at = <usize>(from + (d << 2));
      const quad = v128.load(k + at);
      v128.store32_lane(key, quad, 0);
      v128.store32_lane(key, quad, 1, TILE * 4);
      v128.store32_lane(key, quad, 2, TILE * 8);
      v128.store32_lane(key, quad, 3, TILE * 12);
      v128.store(value, v128.load(v + at));
      key += TILE * 16;
      value += 16;
    }
  }
}
