/** Rotary position embedding (arXiv 2104.09864), rotate-half convention: dimension d turns with d + headDim/2. */

/**
 * y = x turned by its position. x, y: (rows of their strides; heads, headDim), y may be x. positions: i32 (rows).
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
