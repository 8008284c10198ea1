/**
 * Key/value cache of one key/value head: keys in tiles of 8 tokens [capacity/8][headDim][8], values
 * [capacity][headDim].
 */
import { TILE } from './layout';

/** Appends k, v (rows of stride rowStride; headDim) at token `offset`. */
export function storeKeysValues(
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
