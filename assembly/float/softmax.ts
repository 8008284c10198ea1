/** Softmax over rows of attention scores. */
import { exp } from '../exp';
import { maxLane, sumLanes } from '../simd';

/** Every row keeps its first `count` entries, the rest of `width` becomes 0. In place. */
export function softmaxRows(
  scores: usize,
  rows: i32,
  scoreStride: i32,
  count: i32,
  width: i32,
): void {
  for (let row = 0; row < rows; row++) {
    softmaxRow(scores + ((row * scoreStride) << 2), count, width);
  }
}

function softmaxRow(scores: usize, count: i32, width: i32): void {
  const tail = count & 3;
  const tailAt = scores + ((count - tail) << 2);
  // Entries past `count` can be anything, NaN included: they are replaced before use.
  const tailMask = i32x4.gt_s(i32x4.splat(tail), i32x4(0, 1, 2, 3));
  let largest = f32x4.splat(-Infinity);
  for (let at = scores; at < tailAt; at += 16) largest = f32x4.pmax(largest, v128.load(at));
  if (tail) largest = f32x4.pmax(largest, v128.bitselect(v128.load(tailAt), largest, tailMask));
  const offset = f32x4.splat(maxLane(largest));

  let sum = f32x4.splat(0);
  for (let at = scores; at < tailAt; at += 16) {
    const power = exp(f32x4.sub(v128.load(at), offset));
    v128.store(at, power);
    sum = f32x4.add(sum, power);
  }
  if (tail) {
    const power = v128.and(exp(f32x4.sub(v128.load(tailAt), offset)), tailMask);
    v128.store(tailAt, power);
    sum = f32x4.add(sum, power);
  }

  const end = tailAt + (tail ? 16 : 0);
  const inverse = f32x4.splat(1 / sumLanes(sum));
  for (let at = scores; at < end; at += 16) v128.store(at, f32x4.mul(v128.load(at), inverse));
  const widthEnd = scores + (width << 2);
  if (end < widthEnd) memory.fill(end, 0, widthEnd - end);
}
