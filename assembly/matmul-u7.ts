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
  // sum{row}{half}: i32x4 of outputs 4·half … 4·half + 3.
  const start = v128.load(sums);
  let sum00_i32x4 = splatLane0(start);
  let sum01_i32x4 = sum00_i32x4;
  let sum10_i32x4 = splatLane1(start);
  let sum11_i32x4 = sum10_i32x4;
  let sum20_i32x4 = splatLane2(start);
  let sum21_i32x4 = sum20_i32x4;
  let sum30_i32x4 = splatLane3(start);
  let sum31_i32x4 = sum30_i32x4;
  let q: v128;
  let x_i8x16: v128;
  let w0: v128;
  let w1: v128;
  const end = panel + k * PANEL;
  do {
    w0 = v128.load(panel);
    w1 = v128.load(panel, 16);
    q = v128.load(a);
    x_i8x16 = splatLane0(q);
    sum00_i32x4 = dotQuadsAdd(sum00_i32x4, x_i8x16, w0, ones);
    sum01_i32x4 = dotQuadsAdd(sum01_i32x4, x_i8x16, w1, ones);
    x_i8x16 = splatLane1(q);
    sum10_i32x4 = dotQuadsAdd(sum10_i32x4, x_i8x16, w0, ones);
    sum11_i32x4 = dotQuadsAdd(sum11_i32x4, x_i8x16, w1, ones);
    x_i8x16 = splatLane2(q);
    sum20_i32x4 = dotQuadsAdd(sum20_i32x4, x_i8x16, w0, ones);
    sum21_i32x4 = dotQuadsAdd(sum21_i32x4, x_i8x16, w1, ones);
    x_i8x16 = splatLane3(q);
    sum30_i32x4 = dotQuadsAdd(sum30_i32x4, x_i8x16, w0, ones);
    sum31_i32x4 = dotQuadsAdd(sum31_i32x4, x_i8x16, w1, ones);
    w0 = v128.load(panel, 32);
    w1 = v128.load(panel, 48);
    q = v128.load(a, 16);
    x_i8x16 = splatLane0(q);
    sum00_i32x4 = dotQuadsAdd(sum00_i32x4, x_i8x16, w0, ones);
    sum01_i32x4 = dotQuadsAdd(sum01_i32x4, x_i8x16, w1, ones);
    x_i8x16 = splatLane1(q);
    sum10_i32x4 = dotQuadsAdd(sum10_i32x4, x_i8x16, w0, ones);
    sum11_i32x4 = dotQuadsAdd(sum11_i32x4, x_i8x16, w1, ones);
    x_i8x16 = splatLane2(q);
    sum20_i32x4 = dotQuadsAdd(sum20_i32x4, x_i8x16, w0, ones);
    sum21_i32x4 = dotQuadsAdd(sum21_i32x4, x_i8x16, w1, ones);
    x_i8x16 = splatLane3(q);
    sum30_i32x4 = dotQuadsAdd(sum30_i32x4, x_i8x16, w0, ones);
    sum31_i32x4 = dotQuadsAdd(sum31_i32x4, x_i8x16, w1, ones);
    panel += 64;
    a += 32;
  } while (panel < end);

  writeScaled(y, sum00_i32x4, sum01_i32x4, v128.load32_splat(sx), scales);
  y += yRowBytes;
  writeScaled(y, sum10_i32x4, sum11_i32x4, v128.load32_splat(sx, 4), scales);
  y += yRowBytes;
  writeScaled(y, sum20_i32x4, sum21_i32x4, v128.load32_splat(sx, 8), scales);
  y += yRowBytes;
  writeScaled(y, sum30_i32x4, sum31_i32x4, v128.load32_splat(sx, 12), scales);
}

/** 1 row × 16 outputs of two neighbouring panels. */
@inline
function oneRowTwoPanels(a: usize, sums: usize, sx: usize, k: i32, panel: usize, scales: usize, y: usize): void {
  const ones = onesI16();
  let sum0_i32x4 = v128.load32_splat(sums);
  let sum1_i32x4 = sum0_i32x4;
  let sum2_i32x4 = sum0_i32x4;
  let sum3_i32x4 = sum0_i32x4;
  let other = panel + k * PANEL;
  const end = other;
  do {
    const low = v128.load32_splat(a);
    sum0_i32x4 = dotQuadsAdd(sum0_i32x4, low, v128.load(panel), ones);
    sum1_i32x4 = dotQuadsAdd(sum1_i32x4, low, v128.load(panel, 16), ones);
    sum2_i32x4 = dotQuadsAdd(sum2_i32x4, low, v128.load(other), ones);
    sum3_i32x4 = dotQuadsAdd(sum3_i32x4, low, v128.load(other, 16), ones);
    const high = v128.load32_splat(a, 4);
    sum0_i32x4 = dotQuadsAdd(sum0_i32x4, high, v128.load(panel, 32), ones);
    sum1_i32x4 = dotQuadsAdd(sum1_i32x4, high, v128.load(panel, 48), ones);
    sum2_i32x4 = dotQuadsAdd(sum2_i32x4, high, v128.load(other, 32), ones);
    sum3_i32x4 = dotQuadsAdd(sum3_i32x4, high, v128.load(other, 48), ones);
    a += 8;
    panel += 64;
    other += 64;
  } while (panel < end);
  const scale = v128.load32_splat(sx);
  writeScaled(y, sum0_i32x4, sum1_i32x4, scale, scales);
  writeScaled(y + 32, sum2_i32x4, sum3_i32x4, scale, scales + 32);
}

/** 1 row × 8 outputs: the last panel of an odd number. */
@inline
function oneRowOnePanel(a: usize, sums: usize, sx: usize, k: i32, panel: usize, scales: usize, y: usize): void {
  const ones = onesI16();
  let sum0_i32x4 = v128.load32_splat(sums);
  let sum1_i32x4 = sum0_i32x4;
  const end = panel + k * PANEL;
  do {
    const x_i8x16 = v128.load32_splat(a);
    sum0_i32x4 = dotQuadsAdd(sum0_i32x4, x_i8x16, v128.load(panel), ones);
    sum1_i32x4 = dotQuadsAdd(sum1_i32x4, x_i8x16, v128.load(panel, 16), ones);
    a += 4;
    panel += 32;
  } while (panel < end);
  writeScaled(y, sum0_i32x4, sum1_i32x4, v128.load32_splat(sx), scales);
}

/** Eight outputs of one row. */
@inline
function writeScaled(y: usize, sum0_i32x4: v128, sum1_i32x4: v128, scale: v128, scales: usize): void {
  v128.store(y, f32x4.mul(f32x4.mul(f32x4.convert_i32x4_s(sum0_i32x4), scale), v128.load(scales)));
  v128.store(y, f32x4.mul(f32x4.mul(f32x4.convert_i32x4_s(sum1_i32x4), scale), v128.load(scales, 16)), 16);
}
