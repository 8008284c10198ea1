/**
 * Activations (int8, a scale a row) times 7-bit weights (a scale an output, zero point 64):
 *   y[m, n] = sx[m] · sw[n] · Σ_k q[m, k] · (w[n, k] - 64)
 *
 * The i32 sum starts at -64 · Σ q, so that the zero point costs nothing; |result| ≤ 127 · 64 · k < 2^31 for every
 * k < 264,000, and what wraps on the way there wraps back.
 */
import { activationRowSums, activationScales, PANEL, rowScales, rowsInFours } from './layout';
import { dotQuadsAdd, onesI16, splatLane0, splatLane1, splatLane2, splatLane3 } from './simd';

/** y (rows, n of row stride yStride) = a (rows, k) × w (n, k)ᵀ. A row has the same bits among any others. */
export function matmulU7(a: usize, rows: i32, k: i32, w: usize, n: i32, y: usize, yStride: i32): void {
  multiplyPanels(a, rows, k, w, rowScales(w, n, k), n, y, yStride);
}

/** The same over `n` outputs whose panels and scales start at the given places. */
export function multiplyPanels(
  a: usize,
  rows: i32,
  k: i32,
  panels: usize,
  scales: usize,
  n: i32,
  y: usize,
  yStride: i32,
): void {
  const sx = activationScales(a, rows, k);
  const sums = activationRowSums(a, rows, k);
  const fours = rowsInFours(rows);
  if (fours > 0) {
    // A panel stays in the first-level cache while all rows pass over it.
    for (let column = 0; column < n; column += PANEL) {
      for (let row = 0; row < fours; row += 4) {
        const out = y + ((row * yStride + column) << 2);
        const panel = panels + column * k;
        fourRows(a + row * k, sums + (row << 2), sx + (row << 2), k, panel, scales + (column << 2), out, yStride << 2);
      }
    }
  }
  for (let row = fours; row < rows; row++) {
    const out = y + ((row * yStride) << 2);
    oneRow(a + row * k, sums + (row << 2), sx + (row << 2), k, panels, scales, n, out);
  }
}

/** Panels two by two: each splat of activations serves four dot products instead of two. */
function oneRow(a: usize, sums: usize, sx: usize, k: i32, panels: usize, scales: usize, n: i32, y: usize): void {
  let column = 0;
  for (; column + 2 * PANEL <= n; column += 2 * PANEL) {
    oneRowTwoPanels(a, sums, sx, k, panels + column * k, scales + (column << 2), y + (column << 2));
  }
  if (column < n) oneRowOnePanel(a, sums, sx, k, panels + column * k, scales + (column << 2), y + (column << 2));
}

/** 4 rows × 8 outputs. */
@inline
function fourRows(
  a: usize,
  sums: usize,
  sx: usize,
  k: i32,
  panel: usize,
  scales: usize,
  y: usize,
  yRowBytes: i32,
): void {
  const ones = onesI16();
  // s{row}{half}: i32x4 of outputs 4·half … 4·half + 3.
  const start = v128.load(sums);
  let s00 = splatLane0(start);
  let s01 = s00;
  let s10 = splatLane1(start);
  let s11 = s10;
  let s20 = splatLane2(start);
  let s21 = s20;
  let s30 = splatLane3(start);
  let s31 = s30;
  let q: v128;
  let p: v128;
  let w0: v128;
  let w1: v128;
  const end = panel + k * PANEL;
  do {
    w0 = v128.load(panel);
    w1 = v128.load(panel, 16);
    q = v128.load(a);
    p = splatLane0(q);
    s00 = dotQuadsAdd(s00, p, w0, ones);
    s01 = dotQuadsAdd(s01, p, w1, ones);
    p = splatLane1(q);
    s10 = dotQuadsAdd(s10, p, w0, ones);
    s11 = dotQuadsAdd(s11, p, w1, ones);
    p = splatLane2(q);
    s20 = dotQuadsAdd(s20, p, w0, ones);
    s21 = dotQuadsAdd(s21, p, w1, ones);
    p = splatLane3(q);
    s30 = dotQuadsAdd(s30, p, w0, ones);
    s31 = dotQuadsAdd(s31, p, w1, ones);
    w0 = v128.load(panel, 32);
    w1 = v128.load(panel, 48);
    q = v128.load(a, 16);
    p = splatLane0(q);
    s00 = dotQuadsAdd(s00, p, w0, ones);
    s01 = dotQuadsAdd(s01, p, w1, ones);
    p = splatLane1(q);
    s10 = dotQuadsAdd(s10, p, w0, ones);
    s11 = dotQuadsAdd(s11, p, w1, ones);
    p = splatLane2(q);
    s20 = dotQuadsAdd(s20, p, w0, ones);
    s21 = dotQuadsAdd(s21, p, w1, ones);
    p = splatLane3(q);
    s30 = dotQuadsAdd(s30, p, w0, ones);
    s31 = dotQuadsAdd(s31, p, w1, ones);
    panel += 64;
    a += 32;
  } while (panel < end);

  writeScaled(y, s00, s01, v128.load32_splat(sx), scales);
  y += yRowBytes;
  writeScaled(y, s10, s11, v128.load32_splat(sx, 4), scales);
  y += yRowBytes;
  writeScaled(y, s20, s21, v128.load32_splat(sx, 8), scales);
  y += yRowBytes;
  writeScaled(y, s30, s31, v128.load32_splat(sx, 12), scales);
}

/** 1 row × 16 outputs of two neighbouring panels. */
@inline
function oneRowTwoPanels(a: usize, sums: usize, sx: usize, k: i32, panel: usize, scales: usize, y: usize): void {
  const ones = onesI16();
  let s0 = v128.load32_splat(sums);
  let s1 = s0;
  let s2 = s0;
  let s3 = s0;
  let other = panel + k * PANEL;
  const end = other;
  do {
    const low = v128.load32_splat(a);
    s0 = dotQuadsAdd(s0, low, v128.load(panel), ones);
    s1 = dotQuadsAdd(s1, low, v128.load(panel, 16), ones);
    s2 = dotQuadsAdd(s2, low, v128.load(other), ones);
    s3 = dotQuadsAdd(s3, low, v128.load(other, 16), ones);
    const high = v128.load32_splat(a, 4);
    s0 = dotQuadsAdd(s0, high, v128.load(panel, 32), ones);
    s1 = dotQuadsAdd(s1, high, v128.load(panel, 48), ones);
    s2 = dotQuadsAdd(s2, high, v128.load(other, 32), ones);
    s3 = dotQuadsAdd(s3, high, v128.load(other, 48), ones);
    a += 8;
    panel += 64;
    other += 64;
  } while (panel < end);
  const scale = v128.load32_splat(sx);
  writeScaled(y, s0, s1, scale, scales);
  writeScaled(y + 32, s2, s3, scale, scales + 32);
}

/** 1 row × 8 outputs: the last panel of an odd number. */
@inline
function oneRowOnePanel(a: usize, sums: usize, sx: usize, k: i32, panel: usize, scales: usize, y: usize): void {
  const ones = onesI16();
  let s0 = v128.load32_splat(sums);
  let s1 = s0;
  const end = panel + k * PANEL;
  do {
    const p = v128.load32_splat(a);
    s0 = dotQuadsAdd(s0, p, v128.load(panel), ones);
    s1 = dotQuadsAdd(s1, p, v128.load(panel, 16), ones);
    a += 4;
    panel += 32;
  } while (panel < end);
  writeScaled(y, s0, s1, v128.load32_splat(sx), scales);
}

/** Eight outputs of one row. */
@inline
function writeScaled(y: usize, sums0: v128, sums1: v128, scale: v128, scales: usize): void {
  v128.store(y, f32x4.mul(f32x4.mul(f32x4.convert_i32x4_s(sums0), scale), v128.load(scales)));
  v128.store(y, f32x4.mul(f32x4.mul(f32x4.convert_i32x4_s(sums1), scale), v128.load(scales, 16)), 16);
}
