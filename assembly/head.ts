/**
 * The head without its logits: the largest few of every row, and log Σ exp over the whole vocabulary.
 *
 * The vocabulary is walked in chunks. The logits of a chunk are written to scratch, then folded into a running maximum
 * and sum (online softmax, arXiv 1805.02867) and into the sorted candidates of each row. The more rows, the shorter the
 * chunks; sums are folded in blocks of one length, so that they have the same bits for any number of rows.
 */
import { exp, log } from './exp';
import { alignUp, PANEL, rowScales } from './layout';
import { multiplyPanels } from './matmul-u7';
import { maxLane, sumLanes } from './simd';

/** Logits that are folded at a time, as long as scratch has room for so many of each row. */
const FOLDED: i32 = 64;

/**
 * ids i32, logits f32 (rows, topK): descending, the lower id first among equals. lse f32 (rows).
 * topK is 1 to 16 and at most n. scratch: at least alignUp(rows · 4, 16) + rows · 32 bytes.
 */
export function headTopK(
  a: usize,
  rows: i32,
  k: i32,
  w: usize,
  n: i32,
  topK: i32,
  ids: usize,
  logits: usize,
  lse: usize,
  scratch: usize,
  scratchBytes: i32,
): void {
  // While the walk lasts `lse` holds the running maximum of each row, and `sums` Σ exp(logit - maximum).
  const sums = scratch;
  const sumBytes = alignUp(rows << 2, 16);
  const chunk = scratch + sumBytes;
  const fitting = (scratchBytes - sumBytes) / (rows << 2);
  const columns = fitting & (fitting < FOLDED ? -PANEL : -FOLDED);
  for (let row = 0; row < rows; row++) {
    store<f32>(lse + (row << 2), -Infinity);
    store<f32>(sums + (row << 2), 0);
    for (let i = 0; i < topK; i++) {
      store<f32>(logits + ((row * topK + i) << 2), -Infinity);
      store<i32>(ids + ((row * topK + i) << 2), -1);
    }
  }
  for (let column = 0; column < n; column += columns) {
    const width = min(columns, n - column);
    multiplyPanels(a, rows, k, w + column * k, rowScales(w, n, k) + (column << 2), width, chunk, width);
    for (let row = 0; row < rows; row++) {
      const values = chunk + ((row * width) << 2);
      const end = values + (width << 2);
      for (let from = values; from < end; from += FOLDED << 2) {
        addExponentials(from, min(from + (FOLDED << 2), end), lse + (row << 2), sums + (row << 2));
      }
      const candidates = (row * topK) << 2;
      insertLargest(values, end, column, topK, ids + candidates, logits + candidates);
    }
  }
  for (let at: usize = 0; at < <usize>(rows << 2); at += 4) {
    store<f32>(lse + at, load<f32>(lse + at) + log(load<f32>(sums + at)));
  }
}

/** Folds values [at, end), a multiple of 8, into a running maximum and Σ exp(value - maximum). */
@inline
function addExponentials(at: usize, end: usize, maximum: usize, sum: usize): void {
  const before = load<f32>(maximum);
  let largest0 = f32x4.splat(before);
  let largest1 = largest0;
  for (let from = at; from < end; from += 32) {
    largest0 = f32x4.pmax(largest0, v128.load(from));
    largest1 = f32x4.pmax(largest1, v128.load(from, 16));
  }
  const largest = maxLane(f32x4.pmax(largest0, largest1));
  const offset = f32x4.splat(largest);
  let sum0 = f32x4.splat(0);
  let sum1 = sum0;
  for (; at < end; at += 32) {
    sum0 = f32x4.add(sum0, exp(f32x4.sub(v128.load(at), offset)));
    sum1 = f32x4.add(sum1, exp(f32x4.sub(v128.load(at, 16), offset)));
  }
  // Before the first chunk the sum is 0 and the maximum -∞, of which exp is as good as 0.
  const rescaled = load<f32>(sum) * f32x4.extract_lane(exp(f32x4.splat(before - largest)), 0);
  store<f32>(sum, rescaled + sumLanes(f32x4.add(sum0, sum1)));
  store<f32>(maximum, largest);
}

/**
 * Inserts those of values [at, end), a multiple of 8, that beat the last of the topK sorted logits; the first value has
 * id `id`.
 */
@inline
function insertLargest(at: usize, end: usize, id: i32, topK: i32, ids: usize, logits: usize): void {
  const last = logits + ((topK - 1) << 2);
  let threshold = v128.load32_splat(last);
  for (; at < end; at += 32) {
    const beats0 = f32x4.gt(v128.load(at), threshold);
    const beats1 = f32x4.gt(v128.load(at, 16), threshold);
    // Almost always none of them does.
    if (v128.any_true(v128.or(beats0, beats1))) {
      for (let i = 0; i < 8; i++) insert(load<f32>(at + (i << 2)), id + i, topK, ids, logits);
      threshold = v128.load32_splat(last);
    }
    id += 8;
  }
}

/** Moves smaller logits down to make room. An equal one stays before: it has the lower id. */
function insert(value: f32, id: i32, topK: i32, ids: usize, logits: usize): void {
  let place = topK - 1;
  if (!(value > load<f32>(logits + (place << 2)))) return;
  for (; place > 0; place--) {
    const above = load<f32>(logits + ((place - 1) << 2));
    if (!(value > above)) break;
    store<f32>(logits + (place << 2), above);
    store<i32>(ids + (place << 2), load<i32>(ids + ((place - 1) << 2)));
  }
  store<f32>(logits + (place << 2), value);
  store<i32>(ids + (place << 2), id);
}
