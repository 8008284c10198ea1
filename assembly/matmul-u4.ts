/**
 * Activations (int8, a scale a row) times 4-bit weights (a float32 scale for every 32 along k, zero point 8):
 *   y[m, n] = sx[m] · Σ_g sw[n, g] · Σ_{k in g} q[m, k] · (w[n, k] - 8)
 *
 * The sum over a group stays in i16: it starts at -8 · Σ q, so that the zero point costs nothing, and the true result
 * is bounded by 16 · 127 · 8 = 16,256 < 32,767 a lane (16 of the 32 products go to each of two lanes). What wraps on
 * the way there wraps back. A lane pair is then widened by one dot product with ones, and scaled.
 */
import {
  activationGroupSums,
  activationScales,
  GROUP,
  PANEL,
  PANEL_GROUP_BYTES,
  PANEL_GROUP_SCALES,
  PANEL_GROUP_STRIDE,
  panelOf,
  rowsInFours,
} from './layout';
import { dotPairs, highBfloat16, lowBfloat16, multiplyAdd, nibbleMask, onesI16 } from './simd';

/** Bytes of the float32 accumulators of 4 rows × 8 outputs. */
const FOUR_ROWS_PANEL: i32 = 128;
/** f32 [2 panels][4 rows][8 outputs]. */
const FOUR_ROWS: usize = memory.data(2 * FOUR_ROWS_PANEL, 16);

/** y (rows, n) = or, if accumulate, += a (rows, k) × w (n, k)ᵀ. A row has the same bits among any others. */
export function matmulU4(a: usize, rows: i32, k: i32, w: usize, n: i32, y: usize, accumulate: i32): void {
  const groups = k / GROUP;
  const sx = activationScales(a, rows, k);
  const sums = activationGroupSums(a, rows, k);
  const fours = rowsInFours(rows);
  // A pair of panels stays in the first-level cache while all rows pass over it: weights are read from memory once.
  for (let column = 0; column < n; column += 2 * PANEL) {
    const panel = panelOf(w, column, k);
    const isPair = column + PANEL < n;
    for (let row = 0; row < fours; row += 4) {
      const rowSums = sums + ((row * groups) << 2);
      const out = y + ((row * n + column) << 2);
      fourRows(a + row * k, rowSums, sx + (row << 2), groups, panel, isPair, out, n << 2, accumulate);
    }
    let row = fours;
    if (isPair && row + 2 <= rows) {
      const rowSums = sums + ((row * groups) << 2);
      const out = y + ((row * n + column) << 2);
      twoRowsTwoPanels(a + row * k, rowSums, sx + (row << 2), groups, panel, out, n << 2, accumulate);
      row += 2;
    }
    for (; row < rows; row++) {
      const rowSums = sums + ((row * groups) << 2);
      const out = y + ((row * n + column) << 2);
      if (isPair) oneRowTwoPanels(a + row * k, rowSums, sx + (row << 2), groups, panel, out, accumulate);
      else oneRowOnePanel(a + row * k, rowSums, sx + (row << 2), groups, panel, out, accumulate);
    }
  }
}

/**
 * 4 rows × 16 outputs of two neighbouring panels, or 8 of one. Both panels group by group: weights are one stream. The
 * float32 accumulators of 16 outputs do not fit the registers, and are at constant addresses (layout.ts).
 */
@inline
function fourRows(
  a: usize,
  sums: usize,
  sx: usize,
  groups: i32,
  panel: usize,
  isPair: bool,
  y: usize,
  yRowBytes: i32,
  accumulate: i32,
): void {
  memory.fill(FOUR_ROWS, 0, 2 * FOUR_ROWS_PANEL);
  const end = panel + groups * PANEL_GROUP_STRIDE;
  do {
    addFourRows(a, sums, panel, FOUR_ROWS);
    if (isPair) addFourRows(a, sums, panel + PANEL_GROUP_BYTES, FOUR_ROWS + FOUR_ROWS_PANEL);
    a += 4 * GROUP;
    sums += 16;
    panel += PANEL_GROUP_STRIDE;
  } while (panel < end);
  for (let row: usize = 0; row < 4; row++) {
    const from = FOUR_ROWS + (row << 5);
    writeRow(y, v128.load(from), v128.load(from, 16), sx + (row << 2), accumulate);
    if (isPair) {
      const next = from + FOUR_ROWS_PANEL;
      writeRow(y + PANEL * 4, v128.load(next), v128.load(next, 16), sx + (row << 2), accumulate);
    }
    y += yRowBytes;
  }
}

/**
 * y [4 rows][8 outputs] += one group of a panel. Activations are splatted by loads, and all 32 of a group written out:
 * this was the fastest of the forms tried (bench/LOG.md).
 */
@inline
function addFourRows(a: usize, sums: usize, panel: usize, y: usize): void {
  const mask = nibbleMask();
  const ones = onesI16();
  // sum{row}{half}: i16x8, lane pairs of output 4·half + lane/2.
  let sum00_i16x8 = v128.load32_splat(sums);
  let sum01_i16x8 = sum00_i16x8;
  let sum10_i16x8 = v128.load32_splat(sums, 4);
  let sum11_i16x8 = sum10_i16x8;
  let sum20_i16x8 = v128.load32_splat(sums, 8);
  let sum21_i16x8 = sum20_i16x8;
  let sum30_i16x8 = v128.load32_splat(sums, 12);
  let sum31_i16x8 = sum30_i16x8;
  let x_i8x16: v128;
  let q0: v128;
  let q1: v128;
  let w0: v128;
  let w1: v128;
  // k = 0 … 7 of the group: low nibbles, then high ones.
  q0 = v128.load(panel);
  q1 = v128.load(panel, 16);
  w0 = v128.and(q0, mask);
  w1 = v128.and(q1, mask);
  x_i8x16 = v128.load32_splat(a);
  sum00_i16x8 = i16x8.add(sum00_i16x8, dotPairs(x_i8x16, w0));
  sum01_i16x8 = i16x8.add(sum01_i16x8, dotPairs(x_i8x16, w1));
  x_i8x16 = v128.load32_splat(a, 4);
  sum10_i16x8 = i16x8.add(sum10_i16x8, dotPairs(x_i8x16, w0));
  sum11_i16x8 = i16x8.add(sum11_i16x8, dotPairs(x_i8x16, w1));
  x_i8x16 = v128.load32_splat(a, 8);
  sum20_i16x8 = i16x8.add(sum20_i16x8, dotPairs(x_i8x16, w0));
  sum21_i16x8 = i16x8.add(sum21_i16x8, dotPairs(x_i8x16, w1));
  x_i8x16 = v128.load32_splat(a, 12);
  sum30_i16x8 = i16x8.add(sum30_i16x8, dotPairs(x_i8x16, w0));
  sum31_i16x8 = i16x8.add(sum31_i16x8, dotPairs(x_i8x16, w1));
  w0 = v128.and(i16x8.shr_u(q0, 4), mask);
  w1 = v128.and(i16x8.shr_u(q1, 4), mask);
  x_i8x16 = v128.load32_splat(a, 16);
  sum00_i16x8 = i16x8.add(sum00_i16x8, dotPairs(x_i8x16, w0));
  sum01_i16x8 = i16x8.add(sum01_i16x8, dotPairs(x_i8x16, w1));
  x_i8x16 = v128.load32_splat(a, 20);
  sum10_i16x8 = i16x8.add(sum10_i16x8, dotPairs(x_i8x16, w0));
  sum11_i16x8 = i16x8.add(sum11_i16x8, dotPairs(x_i8x16, w1));
  x_i8x16 = v128.load32_splat(a, 24);
  sum20_i16x8 = i16x8.add(sum20_i16x8, dotPairs(x_i8x16, w0));
  sum21_i16x8 = i16x8.add(sum21_i16x8, dotPairs(x_i8x16, w1));
  x_i8x16 = v128.load32_splat(a, 28);
  sum30_i16x8 = i16x8.add(sum30_i16x8, dotPairs(x_i8x16, w0));
  sum31_i16x8 = i16x8.add(sum31_i16x8, dotPairs(x_i8x16, w1));
  // k = 8 … 15 of the group: low nibbles, then high ones.
  q0 = v128.load(panel, 32);
  q1 = v128.load(panel, 48);
  w0 = v128.and(q0, mask);
  w1 = v128.and(q1, mask);
  x_i8x16 = v128.load32_splat(a, 32);
  sum00_i16x8 = i16x8.add(sum00_i16x8, dotPairs(x_i8x16, w0));
  sum01_i16x8 = i16x8.add(sum01_i16x8, dotPairs(x_i8x16, w1));
  x_i8x16 = v128.load32_splat(a, 36);
  sum10_i16x8 = i16x8.add(sum10_i16x8, dotPairs(x_i8x16, w0));
  sum11_i16x8 = i16x8.add(sum11_i16x8, dotPairs(x_i8x16, w1));
  x_i8x16 = v128.load32_splat(a, 40);
  sum20_i16x8 = i16x8.add(sum20_i16x8, dotPairs(x_i8x16, w0));
  sum21_i16x8 = i16x8.add(sum21_i16x8, dotPairs(x_i8x16, w1));
  x_i8x16 = v128.load32_splat(a, 44);
  sum30_i16x8 = i16x8.add(sum30_i16x8, dotPairs(x_i8x16, w0));
  sum31_i16x8 = i16x8.add(sum31_i16x8, dotPairs(x_i8x16, w1));
  w0 = v128.and(i16x8.shr_u(q0, 4), mask);
  w1 = v128.and(i16x8.shr_u(q1, 4), mask);
  x_i8x16 = v128.load32_splat(a, 48);
  sum00_i16x8 = i16x8.add(sum00_i16x8, dotPairs(x_i8x16, w0));
  sum01_i16x8 = i16x8.add(sum01_i16x8, dotPairs(x_i8x16, w1));
  x_i8x16 = v128.load32_splat(a, 52);
  sum10_i16x8 = i16x8.add(sum10_i16x8, dotPairs(x_i8x16, w0));
  sum11_i16x8 = i16x8.add(sum11_i16x8, dotPairs(x_i8x16, w1));
  x_i8x16 = v128.load32_splat(a, 56);
  sum20_i16x8 = i16x8.add(sum20_i16x8, dotPairs(x_i8x16, w0));
  sum21_i16x8 = i16x8.add(sum21_i16x8, dotPairs(x_i8x16, w1));
  x_i8x16 = v128.load32_splat(a, 60);
  sum30_i16x8 = i16x8.add(sum30_i16x8, dotPairs(x_i8x16, w0));
  sum31_i16x8 = i16x8.add(sum31_i16x8, dotPairs(x_i8x16, w1));
  // k = 16 … 23 of the group: low nibbles, then high ones.
  q0 = v128.load(panel, 64);
  q1 = v128.load(panel, 80);
  w0 = v128.and(q0, mask);
  w1 = v128.and(q1, mask);
  x_i8x16 = v128.load32_splat(a, 64);
  sum00_i16x8 = i16x8.add(sum00_i16x8, dotPairs(x_i8x16, w0));
  sum01_i16x8 = i16x8.add(sum01_i16x8, dotPairs(x_i8x16, w1));
  x_i8x16 = v128.load32_splat(a, 68);
  sum10_i16x8 = i16x8.add(sum10_i16x8, dotPairs(x_i8x16, w0));
  sum11_i16x8 = i16x8.add(sum11_i16x8, dotPairs(x_i8x16, w1));
  x_i8x16 = v128.load32_splat(a, 72);
  sum20_i16x8 = i16x8.add(sum20_i16x8, dotPairs(x_i8x16, w0));
  sum21_i16x8 = i16x8.add(sum21_i16x8, dotPairs(x_i8x16, w1));
  x_i8x16 = v128.load32_splat(a, 76);
  sum30_i16x8 = i16x8.add(sum30_i16x8, dotPairs(x_i8x16, w0));
  sum31_i16x8 = i16x8.add(sum31_i16x8, dotPairs(x_i8x16, w1));
  w0 = v128.and(i16x8.shr_u(q0, 4), mask);
  w1 = v128.and(i16x8.shr_u(q1, 4), mask);
  x_i8x16 = v128.load32_splat(a, 80);
  sum00_i16x8 = i16x8.add(sum00_i16x8, dotPairs(x_i8x16, w0));
  sum01_i16x8 = i16x8.add(sum01_i16x8, dotPairs(x_i8x16, w1));
  x_i8x16 = v128.load32_splat(a, 84);
  sum10_i16x8 = i16x8.add(sum10_i16x8, dotPairs(x_i8x16, w0));
  sum11_i16x8 = i16x8.add(sum11_i16x8, dotPairs(x_i8x16, w1));
  x_i8x16 = v128.load32_splat(a, 88);
  sum20_i16x8 = i16x8.add(sum20_i16x8, dotPairs(x_i8x16, w0));
  sum21_i16x8 = i16x8.add(sum21_i16x8, dotPairs(x_i8x16, w1));
  x_i8x16 = v128.load32_splat(a, 92);
  sum30_i16x8 = i16x8.add(sum30_i16x8, dotPairs(x_i8x16, w0));
  sum31_i16x8 = i16x8.add(sum31_i16x8, dotPairs(x_i8x16, w1));
  // k = 24 … 31 of the group: low nibbles, then high ones.
  q0 = v128.load(panel, 96);
  q1 = v128.load(panel, 112);
  w0 = v128.and(q0, mask);
  w1 = v128.and(q1, mask);
  x_i8x16 = v128.load32_splat(a, 96);
  sum00_i16x8 = i16x8.add(sum00_i16x8, dotPairs(x_i8x16, w0));
  sum01_i16x8 = i16x8.add(sum01_i16x8, dotPairs(x_i8x16, w1));
  x_i8x16 = v128.load32_splat(a, 100);
  sum10_i16x8 = i16x8.add(sum10_i16x8, dotPairs(x_i8x16, w0));
  sum11_i16x8 = i16x8.add(sum11_i16x8, dotPairs(x_i8x16, w1));
  x_i8x16 = v128.load32_splat(a, 104);
  sum20_i16x8 = i16x8.add(sum20_i16x8, dotPairs(x_i8x16, w0));
  sum21_i16x8 = i16x8.add(sum21_i16x8, dotPairs(x_i8x16, w1));
  x_i8x16 = v128.load32_splat(a, 108);
  sum30_i16x8 = i16x8.add(sum30_i16x8, dotPairs(x_i8x16, w0));
  sum31_i16x8 = i16x8.add(sum31_i16x8, dotPairs(x_i8x16, w1));
  w0 = v128.and(i16x8.shr_u(q0, 4), mask);
  w1 = v128.and(i16x8.shr_u(q1, 4), mask);
  x_i8x16 = v128.load32_splat(a, 112);
  sum00_i16x8 = i16x8.add(sum00_i16x8, dotPairs(x_i8x16, w0));
  sum01_i16x8 = i16x8.add(sum01_i16x8, dotPairs(x_i8x16, w1));
  x_i8x16 = v128.load32_splat(a, 116);
  sum10_i16x8 = i16x8.add(sum10_i16x8, dotPairs(x_i8x16, w0));
  sum11_i16x8 = i16x8.add(sum11_i16x8, dotPairs(x_i8x16, w1));
  x_i8x16 = v128.load32_splat(a, 120);
  sum20_i16x8 = i16x8.add(sum20_i16x8, dotPairs(x_i8x16, w0));
  sum21_i16x8 = i16x8.add(sum21_i16x8, dotPairs(x_i8x16, w1));
  x_i8x16 = v128.load32_splat(a, 124);
  sum30_i16x8 = i16x8.add(sum30_i16x8, dotPairs(x_i8x16, w0));
  sum31_i16x8 = i16x8.add(sum31_i16x8, dotPairs(x_i8x16, w1));
  q0 = v128.load(panel, PANEL_GROUP_SCALES);
  w0 = lowBfloat16(q0);
  v128.store(y, addScaled(sum00_i16x8, ones, w0, v128.load(y)));
  v128.store(y, addScaled(sum10_i16x8, ones, w0, v128.load(y, 32)), 32);
  v128.store(y, addScaled(sum20_i16x8, ones, w0, v128.load(y, 64)), 64);
  v128.store(y, addScaled(sum30_i16x8, ones, w0, v128.load(y, 96)), 96);
  w1 = highBfloat16(q0);
  v128.store(y, addScaled(sum01_i16x8, ones, w1, v128.load(y, 16)), 16);
  v128.store(y, addScaled(sum11_i16x8, ones, w1, v128.load(y, 48)), 48);
  v128.store(y, addScaled(sum21_i16x8, ones, w1, v128.load(y, 80)), 80);
  v128.store(y, addScaled(sum31_i16x8, ones, w1, v128.load(y, 112)), 112);
}

@inline
function writeRow(y: usize, y0_f32x4: v128, y1_f32x4: v128, sx: usize, accumulate: i32): void {
  const scale = v128.load32_splat(sx);
  writeOutput(y, f32x4.mul(y0_f32x4, scale), accumulate);
  writeOutput(y + 16, f32x4.mul(y1_f32x4, scale), accumulate);
}

/**
 * 2 rows (plain, one after the other) × 16 outputs of two neighbouring panels: unpacking serves both rows, and the
 * weights are one stream, as for one row.
 */
function twoRowsTwoPanels(
  a: usize,
  sums: usize,
  sx: usize,
  groups: i32,
  panel: usize,
  y: usize,
  yRowBytes: i32,
  accumulate: i32,
): void {
  const mask = nibbleMask();
  const ones = onesI16();
  let b = a + groups * GROUP;
  let otherSums = sums + (groups << 2);
  // y{row}{quarter}: f32x4 of outputs 4·quarter … 4·quarter + 3.
  let y00_f32x4 = f32x4.splat(0);
  let y01_f32x4 = f32x4.splat(0);
  let y02_f32x4 = f32x4.splat(0);
  let y03_f32x4 = f32x4.splat(0);
  let y10_f32x4 = f32x4.splat(0);
  let y11_f32x4 = f32x4.splat(0);
  let y12_f32x4 = f32x4.splat(0);
  let y13_f32x4 = f32x4.splat(0);
  const end = panel + groups * PANEL_GROUP_STRIDE;
  do {
    let sum00_i16x8 = v128.load32_splat(sums);
    let sum01_i16x8 = sum00_i16x8;
    let sum02_i16x8 = sum00_i16x8;
    let sum03_i16x8 = sum00_i16x8;
    let sum10_i16x8 = v128.load32_splat(otherSums);
    let sum11_i16x8 = sum10_i16x8;
    let sum12_i16x8 = sum10_i16x8;
    let sum13_i16x8 = sum10_i16x8;
    let x0: v128;
    let x1: v128;
    let x2: v128;
    let x3: v128;
    let q: v128;
    let low: v128;
    let high: v128;
    // k = 0 … 7 of the group.
    x0 = v128.load32_splat(a);
    x1 = v128.load32_splat(a, 4);
    x2 = v128.load32_splat(b);
    x3 = v128.load32_splat(b, 4);
    q = v128.load(panel);
    low = v128.and(q, mask);
    high = v128.and(i16x8.shr_u(q, 4), mask);
    sum00_i16x8 = i16x8.add(sum00_i16x8, dotPairs(x0, low));
    sum10_i16x8 = i16x8.add(sum10_i16x8, dotPairs(x2, low));
    sum00_i16x8 = i16x8.add(sum00_i16x8, dotPairs(x1, high));
    sum10_i16x8 = i16x8.add(sum10_i16x8, dotPairs(x3, high));
    q = v128.load(panel, 16);
    low = v128.and(q, mask);
    high = v128.and(i16x8.shr_u(q, 4), mask);
    sum01_i16x8 = i16x8.add(sum01_i16x8, dotPairs(x0, low));
    sum11_i16x8 = i16x8.add(sum11_i16x8, dotPairs(x2, low));
    sum01_i16x8 = i16x8.add(sum01_i16x8, dotPairs(x1, high));
    sum11_i16x8 = i16x8.add(sum11_i16x8, dotPairs(x3, high));
    q = v128.load(panel, PANEL_GROUP_BYTES);
    low = v128.and(q, mask);
    high = v128.and(i16x8.shr_u(q, 4), mask);
    sum02_i16x8 = i16x8.add(sum02_i16x8, dotPairs(x0, low));
    sum12_i16x8 = i16x8.add(sum12_i16x8, dotPairs(x2, low));
    sum02_i16x8 = i16x8.add(sum02_i16x8, dotPairs(x1, high));
    sum12_i16x8 = i16x8.add(sum12_i16x8, dotPairs(x3, high));
    q = v128.load(panel, PANEL_GROUP_BYTES + 16);
    low = v128.and(q, mask);
    high = v128.and(i16x8.shr_u(q, 4), mask);
    sum03_i16x8 = i16x8.add(sum03_i16x8, dotPairs(x0, low));
    sum13_i16x8 = i16x8.add(sum13_i16x8, dotPairs(x2, low));
    sum03_i16x8 = i16x8.add(sum03_i16x8, dotPairs(x1, high));
    sum13_i16x8 = i16x8.add(sum13_i16x8, dotPairs(x3, high));
    // k = 8 … 15 of the group.
    x0 = v128.load32_splat(a, 8);
    x1 = v128.load32_splat(a, 12);
    x2 = v128.load32_splat(b, 8);
    x3 = v128.load32_splat(b, 12);
    q = v128.load(panel, 32);
    low = v128.and(q, mask);
    high = v128.and(i16x8.shr_u(q, 4), mask);
    sum00_i16x8 = i16x8.add(sum00_i16x8, dotPairs(x0, low));
    sum10_i16x8 = i16x8.add(sum10_i16x8, dotPairs(x2, low));
    sum00_i16x8 = i16x8.add(sum00_i16x8, dotPairs(x1, high));
    sum10_i16x8 = i16x8.add(sum10_i16x8, dotPairs(x3, high));
    q = v128.load(panel, 48);
    low = v128.and(q, mask);
    high = v128.and(i16x8.shr_u(q, 4), mask);
    sum01_i16x8 = i16x8.add(sum01_i16x8, dotPairs(x0, low));
    sum11_i16x8 = i16x8.add(sum11_i16x8, dotPairs(x2, low));
    sum01_i16x8 = i16x8.add(sum01_i16x8, dotPairs(x1, high));
    sum11_i16x8 = i16x8.add(sum11_i16x8, dotPairs(x3, high));
    q = v128.load(panel, PANEL_GROUP_BYTES + 32);
    low = v128.and(q, mask);
    high = v128.and(i16x8.shr_u(q, 4), mask);
    sum02_i16x8 = i16x8.add(sum02_i16x8, dotPairs(x0, low));
    sum12_i16x8 = i16x8.add(sum12_i16x8, dotPairs(x2, low));
    sum02_i16x8 = i16x8.add(sum02_i16x8, dotPairs(x1, high));
    sum12_i16x8 = i16x8.add(sum12_i16x8, dotPairs(x3, high));
    q = v128.load(panel, PANEL_GROUP_BYTES + 48);
    low = v128.and(q, mask);
    high = v128.and(i16x8.shr_u(q, 4), mask);
    sum03_i16x8 = i16x8.add(sum03_i16x8, dotPairs(x0, low));
    sum13_i16x8 = i16x8.add(sum13_i16x8, dotPairs(x2, low));
    sum03_i16x8 = i16x8.add(sum03_i16x8, dotPairs(x1, high));
    sum13_i16x8 = i16x8.add(sum13_i16x8, dotPairs(x3, high));
    // k = 16 … 23 of the group.
    x0 = v128.load32_splat(a, 16);
    x1 = v128.load32_splat(a, 20);
    x2 = v128.load32_splat(b, 16);
    x3 = v128.load32_splat(b, 20);
    q = v128.load(panel, 64);
    low = v128.and(q, mask);
    high = v128.and(i16x8.shr_u(q, 4), mask);
    sum00_i16x8 = i16x8.add(sum00_i16x8, dotPairs(x0, low));
    sum10_i16x8 = i16x8.add(sum10_i16x8, dotPairs(x2, low));
    sum00_i16x8 = i16x8.add(sum00_i16x8, dotPairs(x1, high));
    sum10_i16x8 = i16x8.add(sum10_i16x8, dotPairs(x3, high));
    q = v128.load(panel, 80);
    low = v128.and(q, mask);
    high = v128.and(i16x8.shr_u(q, 4), mask);
    sum01_i16x8 = i16x8.add(sum01_i16x8, dotPairs(x0, low));
    sum11_i16x8 = i16x8.add(sum11_i16x8, dotPairs(x2, low));
    sum01_i16x8 = i16x8.add(sum01_i16x8, dotPairs(x1, high));
    sum11_i16x8 = i16x8.add(sum11_i16x8, dotPairs(x3, high));
    q = v128.load(panel, PANEL_GROUP_BYTES + 64);
    low = v128.and(q, mask);
    high = v128.and(i16x8.shr_u(q, 4), mask);
    sum02_i16x8 = i16x8.add(sum02_i16x8, dotPairs(x0, low));
    sum12_i16x8 = i16x8.add(sum12_i16x8, dotPairs(x2, low));
    sum02_i16x8 = i16x8.add(sum02_i16x8, dotPairs(x1, high));
    sum12_i16x8 = i16x8.add(sum12_i16x8, dotPairs(x3, high));
    q = v128.load(panel, PANEL_GROUP_BYTES + 80);
    low = v128.and(q, mask);
    high = v128.and(i16x8.shr_u(q, 4), mask);
    sum03_i16x8 = i16x8.add(sum03_i16x8, dotPairs(x0, low));
    sum13_i16x8 = i16x8.add(sum13_i16x8, dotPairs(x2, low));
    sum03_i16x8 = i16x8.add(sum03_i16x8, dotPairs(x1, high));
    sum13_i16x8 = i16x8.add(sum13_i16x8, dotPairs(x3, high));
    // k = 24 … 31 of the group.
    x0 = v128.load32_splat(a, 24);
    x1 = v128.load32_splat(a, 28);
    x2 = v128.load32_splat(b, 24);
    x3 = v128.load32_splat(b, 28);
    q = v128.load(panel, 96);
    low = v128.and(q, mask);
    high = v128.and(i16x8.shr_u(q, 4), mask);
    sum00_i16x8 = i16x8.add(sum00_i16x8, dotPairs(x0, low));
    sum10_i16x8 = i16x8.add(sum10_i16x8, dotPairs(x2, low));
    sum00_i16x8 = i16x8.add(sum00_i16x8, dotPairs(x1, high));
    sum10_i16x8 = i16x8.add(sum10_i16x8, dotPairs(x3, high));
    q = v128.load(panel, 112);
    low = v128.and(q, mask);
    high = v128.and(i16x8.shr_u(q, 4), mask);
    sum01_i16x8 = i16x8.add(sum01_i16x8, dotPairs(x0, low));
    sum11_i16x8 = i16x8.add(sum11_i16x8, dotPairs(x2, low));
    sum01_i16x8 = i16x8.add(sum01_i16x8, dotPairs(x1, high));
    sum11_i16x8 = i16x8.add(sum11_i16x8, dotPairs(x3, high));
    q = v128.load(panel, PANEL_GROUP_BYTES + 96);
    low = v128.and(q, mask);
    high = v128.and(i16x8.shr_u(q, 4), mask);
    sum02_i16x8 = i16x8.add(sum02_i16x8, dotPairs(x0, low));
    sum12_i16x8 = i16x8.add(sum12_i16x8, dotPairs(x2, low));
    sum02_i16x8 = i16x8.add(sum02_i16x8, dotPairs(x1, high));
    sum12_i16x8 = i16x8.add(sum12_i16x8, dotPairs(x3, high));
    q = v128.load(panel, PANEL_GROUP_BYTES + 112);
    low = v128.and(q, mask);
    high = v128.and(i16x8.shr_u(q, 4), mask);
    sum03_i16x8 = i16x8.add(sum03_i16x8, dotPairs(x0, low));
    sum13_i16x8 = i16x8.add(sum13_i16x8, dotPairs(x2, low));
    sum03_i16x8 = i16x8.add(sum03_i16x8, dotPairs(x1, high));
    sum13_i16x8 = i16x8.add(sum13_i16x8, dotPairs(x3, high));
    q = v128.load(panel, PANEL_GROUP_SCALES);
    low = lowBfloat16(q);
    y00_f32x4 = addScaled(sum00_i16x8, ones, low, y00_f32x4);
    y10_f32x4 = addScaled(sum10_i16x8, ones, low, y10_f32x4);
    low = highBfloat16(q);
    y01_f32x4 = addScaled(sum01_i16x8, ones, low, y01_f32x4);
    y11_f32x4 = addScaled(sum11_i16x8, ones, low, y11_f32x4);
    q = v128.load(panel, PANEL_GROUP_BYTES + PANEL_GROUP_SCALES);
    low = lowBfloat16(q);
    y02_f32x4 = addScaled(sum02_i16x8, ones, low, y02_f32x4);
    y12_f32x4 = addScaled(sum12_i16x8, ones, low, y12_f32x4);
    low = highBfloat16(q);
    y03_f32x4 = addScaled(sum03_i16x8, ones, low, y03_f32x4);
    y13_f32x4 = addScaled(sum13_i16x8, ones, low, y13_f32x4);
    a += GROUP;
    b += GROUP;
    panel += PANEL_GROUP_STRIDE;
    sums += 4;
    otherSums += 4;
  } while (panel < end);
  writeRow(y, y00_f32x4, y01_f32x4, sx, accumulate);
  writeRow(y + 32, y02_f32x4, y03_f32x4, sx, accumulate);
  y += yRowBytes;
  writeRow(y, y10_f32x4, y11_f32x4, sx + 4, accumulate);
  writeRow(y + 32, y12_f32x4, y13_f32x4, sx + 4, accumulate);
}

/** 1 row × 16 outputs of two neighbouring panels. */
function oneRowTwoPanels(
  a: usize,
  sums: usize,
  sx: usize,
  groups: i32,
  panel: usize,
  y: usize,
  accumulate: i32,
): void {
  const mask = nibbleMask();
  const ones = onesI16();
  let y0_f32x4 = f32x4.splat(0);
  let y1_f32x4 = y0_f32x4;
  let y2_f32x4 = y0_f32x4;
  let y3_f32x4 = y0_f32x4;
  const end = panel + groups * PANEL_GROUP_STRIDE;
  do {
    let sum0_i16x8 = v128.load32_splat(sums);
    let sum1_i16x8 = sum0_i16x8;
    let sum2_i16x8 = sum0_i16x8;
    let sum3_i16x8 = sum0_i16x8;
    let x_i8x16: v128;
    let w0: v128;
    let w1: v128;
    let w2: v128;
    let w3: v128;
    // Written out: with explicit bounds checks the engine leaves a loop of four rolled up, 8 % slower.
    // k = 0 … 7 of the group.
    w0 = v128.load(panel);
    w1 = v128.load(panel, 16);
    w2 = v128.load(panel, PANEL_GROUP_BYTES);
    w3 = v128.load(panel, PANEL_GROUP_BYTES + 16);
    x_i8x16 = v128.load32_splat(a);
    sum0_i16x8 = i16x8.add(sum0_i16x8, dotPairs(x_i8x16, v128.and(w0, mask)));
    sum1_i16x8 = i16x8.add(sum1_i16x8, dotPairs(x_i8x16, v128.and(w1, mask)));
    sum2_i16x8 = i16x8.add(sum2_i16x8, dotPairs(x_i8x16, v128.and(w2, mask)));
    sum3_i16x8 = i16x8.add(sum3_i16x8, dotPairs(x_i8x16, v128.and(w3, mask)));
    x_i8x16 = v128.load32_splat(a, 4);
    sum0_i16x8 = i16x8.add(sum0_i16x8, dotPairs(x_i8x16, v128.and(i16x8.shr_u(w0, 4), mask)));
    sum1_i16x8 = i16x8.add(sum1_i16x8, dotPairs(x_i8x16, v128.and(i16x8.shr_u(w1, 4), mask)));
    sum2_i16x8 = i16x8.add(sum2_i16x8, dotPairs(x_i8x16, v128.and(i16x8.shr_u(w2, 4), mask)));
    sum3_i16x8 = i16x8.add(sum3_i16x8, dotPairs(x_i8x16, v128.and(i16x8.shr_u(w3, 4), mask)));
    // k = 8 … 15 of the group.
    w0 = v128.load(panel, 32);
    w1 = v128.load(panel, 48);
    w2 = v128.load(panel, PANEL_GROUP_BYTES + 32);
    w3 = v128.load(panel, PANEL_GROUP_BYTES + 48);
    x_i8x16 = v128.load32_splat(a, 8);
    sum0_i16x8 = i16x8.add(sum0_i16x8, dotPairs(x_i8x16, v128.and(w0, mask)));
    sum1_i16x8 = i16x8.add(sum1_i16x8, dotPairs(x_i8x16, v128.and(w1, mask)));
    sum2_i16x8 = i16x8.add(sum2_i16x8, dotPairs(x_i8x16, v128.and(w2, mask)));
    sum3_i16x8 = i16x8.add(sum3_i16x8, dotPairs(x_i8x16, v128.and(w3, mask)));
    x_i8x16 = v128.load32_splat(a, 12);
    sum0_i16x8 = i16x8.add(sum0_i16x8, dotPairs(x_i8x16, v128.and(i16x8.shr_u(w0, 4), mask)));
    sum1_i16x8 = i16x8.add(sum1_i16x8, dotPairs(x_i8x16, v128.and(i16x8.shr_u(w1, 4), mask)));
    sum2_i16x8 = i16x8.add(sum2_i16x8, dotPairs(x_i8x16, v128.and(i16x8.shr_u(w2, 4), mask)));
    sum3_i16x8 = i16x8.add(sum3_i16x8, dotPairs(x_i8x16, v128.and(i16x8.shr_u(w3, 4), mask)));
    // k = 16 … 23 of the group.
    w0 = v128.load(panel, 64);
    w1 = v128.load(panel, 80);
    w2 = v128.load(panel, PANEL_GROUP_BYTES + 64);
    w3 = v128.load(panel, PANEL_GROUP_BYTES + 80);
    x_i8x16 = v128.load32_splat(a, 16);
    sum0_i16x8 = i16x8.add(sum0_i16x8, dotPairs(x_i8x16, v128.and(w0, mask)));
    sum1_i16x8 = i16x8.add(sum1_i16x8, dotPairs(x_i8x16, v128.and(w1, mask)));
    sum2_i16x8 = i16x8.add(sum2_i16x8, dotPairs(x_i8x16, v128.and(w2, mask)));
    sum3_i16x8 = i16x8.add(sum3_i16x8, dotPairs(x_i8x16, v128.and(w3, mask)));
    x_i8x16 = v128.load32_splat(a, 20);
    sum0_i16x8 = i16x8.add(sum0_i16x8, dotPairs(x_i8x16, v128.and(i16x8.shr_u(w0, 4), mask)));
    sum1_i16x8 = i16x8.add(sum1_i16x8, dotPairs(x_i8x16, v128.and(i16x8.shr_u(w1, 4), mask)));
    sum2_i16x8 = i16x8.add(sum2_i16x8, dotPairs(x_i8x16, v128.and(i16x8.shr_u(w2, 4), mask)));
    sum3_i16x8 = i16x8.add(sum3_i16x8, dotPairs(x_i8x16, v128.and(i16x8.shr_u(w3, 4), mask)));
    // k = 24 … 31 of the group.
    w0 = v128.load(panel, 96);
    w1 = v128.load(panel, 112);
    w2 = v128.load(panel, PANEL_GROUP_BYTES + 96);
    w3 = v128.load(panel, PANEL_GROUP_BYTES + 112);
    x_i8x16 = v128.load32_splat(a, 24);
    sum0_i16x8 = i16x8.add(sum0_i16x8, dotPairs(x_i8x16, v128.and(w0, mask)));
    sum1_i16x8 = i16x8.add(sum1_i16x8, dotPairs(x_i8x16, v128.and(w1, mask)));
    sum2_i16x8 = i16x8.add(sum2_i16x8, dotPairs(x_i8x16, v128.and(w2, mask)));
    sum3_i16x8 = i16x8.add(sum3_i16x8, dotPairs(x_i8x16, v128.and(w3, mask)));
    x_i8x16 = v128.load32_splat(a, 28);
    sum0_i16x8 = i16x8.add(sum0_i16x8, dotPairs(x_i8x16, v128.and(i16x8.shr_u(w0, 4), mask)));
    sum1_i16x8 = i16x8.add(sum1_i16x8, dotPairs(x_i8x16, v128.and(i16x8.shr_u(w1, 4), mask)));
    sum2_i16x8 = i16x8.add(sum2_i16x8, dotPairs(x_i8x16, v128.and(i16x8.shr_u(w2, 4), mask)));
    sum3_i16x8 = i16x8.add(sum3_i16x8, dotPairs(x_i8x16, v128.and(i16x8.shr_u(w3, 4), mask)));
    a += GROUP;
    w0 = v128.load(panel, PANEL_GROUP_SCALES);
    w1 = v128.load(panel, PANEL_GROUP_BYTES + PANEL_GROUP_SCALES);
    y0_f32x4 = addScaled(sum0_i16x8, ones, lowBfloat16(w0), y0_f32x4);
    y1_f32x4 = addScaled(sum1_i16x8, ones, highBfloat16(w0), y1_f32x4);
    y2_f32x4 = addScaled(sum2_i16x8, ones, lowBfloat16(w1), y2_f32x4);
    y3_f32x4 = addScaled(sum3_i16x8, ones, highBfloat16(w1), y3_f32x4);
    panel += PANEL_GROUP_STRIDE;
    sums += 4;
  } while (panel < end);
  const scale = v128.load32_splat(sx);
  writeOutput(y, f32x4.mul(y0_f32x4, scale), accumulate);
  writeOutput(y + 16, f32x4.mul(y1_f32x4, scale), accumulate);
  writeOutput(y + 32, f32x4.mul(y2_f32x4, scale), accumulate);
  writeOutput(y + 48, f32x4.mul(y3_f32x4, scale), accumulate);
}

/** 1 row × 8 outputs: the last panel of an odd number. */
function oneRowOnePanel(
  a: usize,
  sums: usize,
  sx: usize,
  groups: i32,
  panel: usize,
  y: usize,
  accumulate: i32,
): void {
  const mask = nibbleMask();
  const ones = onesI16();
  let y0_f32x4 = f32x4.splat(0);
  let y1_f32x4 = y0_f32x4;
  const end = panel + groups * PANEL_GROUP_STRIDE;
  do {
    let sum0_i16x8 = v128.load32_splat(sums);
    let sum1_i16x8 = sum0_i16x8;
    let chunk = panel;
    const chunksEnd = panel + PANEL_GROUP_SCALES;
    do {
      const w0 = v128.load(chunk);
      const w1 = v128.load(chunk, 16);
      const low = v128.load32_splat(a);
      sum0_i16x8 = i16x8.add(sum0_i16x8, dotPairs(low, v128.and(w0, mask)));
      sum1_i16x8 = i16x8.add(sum1_i16x8, dotPairs(low, v128.and(w1, mask)));
      const high = v128.load32_splat(a, 4);
      sum0_i16x8 = i16x8.add(sum0_i16x8, dotPairs(high, v128.and(i16x8.shr_u(w0, 4), mask)));
      sum1_i16x8 = i16x8.add(sum1_i16x8, dotPairs(high, v128.and(i16x8.shr_u(w1, 4), mask)));
      a += 8;
      chunk += 32;
    } while (chunk < chunksEnd);
    const scales = v128.load(panel, PANEL_GROUP_SCALES);
    y0_f32x4 = addScaled(sum0_i16x8, ones, lowBfloat16(scales), y0_f32x4);
    y1_f32x4 = addScaled(sum1_i16x8, ones, highBfloat16(scales), y1_f32x4);
    panel += PANEL_GROUP_STRIDE;
    sums += 4;
  } while (panel < end);
  const scale = v128.load32_splat(sx);
  writeOutput(y, f32x4.mul(y0_f32x4, scale), accumulate);
  writeOutput(y + 16, f32x4.mul(y1_f32x4, scale), accumulate);
}

/** acc + scale · (sums of neighbouring i16), f32x4. */
@inline
function addScaled(pairs_i16x8: v128, ones: v128, scale: v128, acc: v128): v128 {
  return multiplyAdd(f32x4.convert_i32x4_s(i32x4.dot_i16x8_s(pairs_i16x8, ones)), scale, acc);
}

@inline
function writeOutput(y: usize, values: v128, accumulate: i32): void {
  v128.store(y, accumulate ? f32x4.add(v128.load(y), values) : values);
}
