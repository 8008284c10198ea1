/**
 * Activations (int8, a scale a row) times 4-bit weights (a float32 scale for every 32 along k, zero point 8):
 *   y[m, n] = sx[m] · Σ_g sw[n, g] · Σ_{k in g} q[m, k] · (w[n, k] - 8)
 *
 * The sum over a group stays in i16: it starts at -8 · Σ q, so that the zero point costs nothing, and the true result
 * is bounded by 16 · 127 · 8 = 16,256 < 32,767 a lane (16 of the 32 products go to each of two lanes). What wraps on
 * the way there wraps back. A lane pair is then widened by one dot product with ones, and scaled.
 */
import { activationGroupSums, activationScales, GROUP, groupScales, PANEL, rowsInFours } from './layout';
import { dotPairs, multiplyAdd, nibbleMask, onesI16 } from './simd';

/** Bytes of one group of a panel: 8 outputs × 32 weights × 4 bits. */
const PANEL_GROUP_BYTES: i32 = 128;

/** y (rows, n) = or, if accumulate, += a (rows, k) × w (n, k)ᵀ. A row has the same bits among any others. */
export function matmulU4(a: usize, rows: i32, k: i32, w: usize, n: i32, y: usize, accumulate: i32): void {
  const groups = k / GROUP;
  const scales = groupScales(w, n, k);
  const sx = activationScales(a, rows, k);
  const sums = activationGroupSums(a, rows, k);
  const fours = rowsInFours(rows);
  if (fours > 0) {
    // A panel stays in the first-level cache while all rows pass over it.
    for (let column = 0; column < n; column += PANEL) {
      const panel = w + (column * k) / 2;
      const panelScales = scales + ((column * groups) << 2);
      for (let row = 0; row < fours; row += 4) {
        const rowSums = sums + ((row * groups) << 2);
        const out = y + ((row * n + column) << 2);
        fourRows(a + row * k, rowSums, sx + (row << 2), groups, panel, panelScales, out, n << 2, accumulate);
      }
    }
  }
  for (let row = fours; row < rows; row++) {
    const rowSums = sums + ((row * groups) << 2);
    const out = y + ((row * n) << 2);
    oneRow(a + row * k, rowSums, sx + (row << 2), groups, w, scales, n, out, accumulate);
  }
}

/** Panels two by two: each splat of activations serves four dot products instead of two. */
function oneRow(
  a: usize,
  sums: usize,
  sx: usize,
  groups: i32,
  w: usize,
  scales: usize,
  n: i32,
  y: usize,
  accumulate: i32,
): void {
  let column = 0;
  for (; column + 2 * PANEL <= n; column += 2 * PANEL) {
    const panel = w + (column * groups * GROUP) / 2;
    oneRowTwoPanels(a, sums, sx, groups, panel, scales + ((column * groups) << 2), y + (column << 2), accumulate);
  }
  if (column < n) {
    const panel = w + (column * groups * GROUP) / 2;
    oneRowOnePanel(a, sums, sx, groups, panel, scales + ((column * groups) << 2), y + (column << 2), accumulate);
  }
}

/**
 * 4 rows × 8 outputs. Activations are splatted by loads, and all 32 of a group written out: with the float32
 * accumulators in registers as far as they fit this was the fastest of the forms tried (bench/LOG.md).
 */
@inline
function fourRows(
  a: usize,
  sums: usize,
  sx: usize,
  groups: i32,
  panel: usize,
  scales: usize,
  y: usize,
  yRowBytes: i32,
  accumulate: i32,
): void {
  const mask = nibbleMask();
  const ones = onesI16();
  // y{row}{half}: f32x4 of outputs 4·half … 4·half + 3.
  let y00_f32x4 = f32x4.splat(0);
  let y01_f32x4 = y00_f32x4;
  let y10_f32x4 = y00_f32x4;
  let y11_f32x4 = y00_f32x4;
  let y20_f32x4 = y00_f32x4;
  let y21_f32x4 = y00_f32x4;
  let y30_f32x4 = y00_f32x4;
  let y31_f32x4 = y00_f32x4;
  const end = panel + groups * PANEL_GROUP_BYTES;
  do {
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
    w0 = v128.load(scales);
    y00_f32x4 = addScaled(sum00_i16x8, ones, w0, y00_f32x4);
    y10_f32x4 = addScaled(sum10_i16x8, ones, w0, y10_f32x4);
    y20_f32x4 = addScaled(sum20_i16x8, ones, w0, y20_f32x4);
    y30_f32x4 = addScaled(sum30_i16x8, ones, w0, y30_f32x4);
    w1 = v128.load(scales, 16);
    y01_f32x4 = addScaled(sum01_i16x8, ones, w1, y01_f32x4);
    y11_f32x4 = addScaled(sum11_i16x8, ones, w1, y11_f32x4);
    y21_f32x4 = addScaled(sum21_i16x8, ones, w1, y21_f32x4);
    y31_f32x4 = addScaled(sum31_i16x8, ones, w1, y31_f32x4);
    a += 4 * GROUP;
    panel += PANEL_GROUP_BYTES;
    sums += 16;
    scales += PANEL * 4;
  } while (panel < end);

  writeRow(y, y00_f32x4, y01_f32x4, sx, accumulate);
  y += yRowBytes;
  writeRow(y, y10_f32x4, y11_f32x4, sx + 4, accumulate);
  y += yRowBytes;
  writeRow(y, y20_f32x4, y21_f32x4, sx + 8, accumulate);
  y += yRowBytes;
  writeRow(y, y30_f32x4, y31_f32x4, sx + 12, accumulate);
}

@inline
function writeRow(y: usize, y0_f32x4: v128, y1_f32x4: v128, sx: usize, accumulate: i32): void {
  const scale = v128.load32_splat(sx);
  writeOutput(y, f32x4.mul(y0_f32x4, scale), accumulate);
  writeOutput(y + 16, f32x4.mul(y1_f32x4, scale), accumulate);
}

/** 1 row × 16 outputs of two neighbouring panels. */
function oneRowTwoPanels(
  a: usize,
  sums: usize,
  sx: usize,
  groups: i32,
  panel: usize,
  scales: usize,
  y: usize,
  accumulate: i32,
): void {
  const mask = nibbleMask();
  const ones = onesI16();
  const panelBytes = groups * PANEL_GROUP_BYTES;
  const scaleBytes = groups * PANEL * 4;
  let other = panel + panelBytes;
  let otherScales = scales + scaleBytes;
  let y0_f32x4 = f32x4.splat(0);
  let y1_f32x4 = y0_f32x4;
  let y2_f32x4 = y0_f32x4;
  let y3_f32x4 = y0_f32x4;
  const end = other;
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
    w2 = v128.load(other);
    w3 = v128.load(other, 16);
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
    w2 = v128.load(other, 32);
    w3 = v128.load(other, 48);
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
    w2 = v128.load(other, 64);
    w3 = v128.load(other, 80);
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
    w2 = v128.load(other, 96);
    w3 = v128.load(other, 112);
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
    panel += PANEL_GROUP_BYTES;
    other += PANEL_GROUP_BYTES;
    y0_f32x4 = addScaled(sum0_i16x8, ones, v128.load(scales), y0_f32x4);
    y1_f32x4 = addScaled(sum1_i16x8, ones, v128.load(scales, 16), y1_f32x4);
    y2_f32x4 = addScaled(sum2_i16x8, ones, v128.load(otherScales), y2_f32x4);
    y3_f32x4 = addScaled(sum3_i16x8, ones, v128.load(otherScales, 16), y3_f32x4);
    sums += 4;
    scales += PANEL * 4;
    otherScales += PANEL * 4;
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
  scales: usize,
  y: usize,
  accumulate: i32,
): void {
  const mask = nibbleMask();
  const ones = onesI16();
  let y0_f32x4 = f32x4.splat(0);
  let y1_f32x4 = y0_f32x4;
  const end = panel + groups * PANEL_GROUP_BYTES;
  do {
    let sum0_i16x8 = v128.load32_splat(sums);
    let sum1_i16x8 = sum0_i16x8;
    const panelEnd = panel + PANEL_GROUP_BYTES;
    do {
      const w0 = v128.load(panel);
      const w1 = v128.load(panel, 16);
      const low = v128.load32_splat(a);
      sum0_i16x8 = i16x8.add(sum0_i16x8, dotPairs(low, v128.and(w0, mask)));
      sum1_i16x8 = i16x8.add(sum1_i16x8, dotPairs(low, v128.and(w1, mask)));
      const high = v128.load32_splat(a, 4);
      sum0_i16x8 = i16x8.add(sum0_i16x8, dotPairs(high, v128.and(i16x8.shr_u(w0, 4), mask)));
      sum1_i16x8 = i16x8.add(sum1_i16x8, dotPairs(high, v128.and(i16x8.shr_u(w1, 4), mask)));
      a += 8;
      panel += 32;
    } while (panel < panelEnd);
    y0_f32x4 = addScaled(sum0_i16x8, ones, v128.load(scales), y0_f32x4);
    y1_f32x4 = addScaled(sum1_i16x8, ones, v128.load(scales, 16), y1_f32x4);
    sums += 4;
    scales += PANEL * 4;
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
