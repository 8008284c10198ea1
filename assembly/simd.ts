/**
 * The vector operations on which the two builds differ, and small helpers on top of them.
 *
 * `ASC_FEATURE_RELAXED_SIMD` is a compile-time constant: each build holds one branch of every `if` here. The integer
 * operations give the same bits on both builds; only `multiplyAdd` may differ, by the rounding of the product.
 */

// Engines re-create a vector constant at each of its uses. One that is loaded from memory stays in its register.
const ONES: usize = memory.data<i16>([1, 1, 1, 1, 1, 1, 1, 1], 16);
const NIBBLE_MASK: usize = memory.data<u64>([0x0f0f0f0f0f0f0f0f, 0x0f0f0f0f0f0f0f0f], 16);

/** i16x8 of ones. */
@inline
export function onesI16(): v128 {
  return v128.load(ONES);
}

/** i8x16 of 0x0f. */
@inline
export function nibbleMask(): v128 {
  return v128.load(NIBBLE_MASK);
}

/**
 * Sums of products of neighbouring bytes, i16x8: q signed in [-127, 127], w in [0, 127].
 * |sum| ≤ 2 · 127 · 127 = 32,258 < 32,767: nothing saturates, and w < 128 reads the same as signed and as unsigned. So
 * every lowering that relaxed SIMD allows gives the same bits, and so does the plain form: even and odd bytes
 * multiplied apart.
 */
@inline
export function dotPairs(q: v128, w: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return v128.relaxed_dot<i16>(q, w);
  return i16x8.add(i16x8.mul(evenBytes(q), evenBytes(w)), i16x8.mul(oddBytes(q), oddBytes(w)));
}

/** acc + sums of products of four neighbouring bytes, i32x4; q and w as in `dotPairs`, `ones` from `onesI16`. */
@inline
export function dotQuadsAdd(acc: v128, q: v128, w: v128, ones: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return i32x4.add(acc, i32x4.dot_i16x8_s(v128.relaxed_dot<i16>(q, w), ones));
  const sum_i32x4 = i32x4.add(acc, i32x4.dot_i16x8_s(evenBytes(q), evenBytes(w)));
  return i32x4.add(sum_i32x4, i32x4.dot_i16x8_s(oddBytes(q), oddBytes(w)));
}

/** Bytes 0, 2, 4 …, sign-extended to i16x8. */
@inline
function evenBytes(v: v128): v128 {
  return i16x8.shr_s(i16x8.shl(v, 8), 8);
}

/** Bytes 1, 3, 5 …, sign-extended to i16x8. */
@inline
function oddBytes(v: v128): v128 {
  return i16x8.shr_s(v, 8);
}

/** x · y + z; the relaxed build may round once instead of twice. */
@inline
export function multiplyAdd(x: v128, y: v128, z: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_madd(x, y, z);
  return f32x4.add(f32x4.mul(x, y), z);
}

/** The first four bfloat16 of eight as f32x4: the same values. */
@inline
export function lowBfloat16(v: v128): v128 {
  return v128.shuffle<i16>(i16x8.splat(0), v, 0, 8, 1, 9, 2, 10, 3, 11);
}

/** The last four bfloat16 of eight as f32x4. */
@inline
export function highBfloat16(v: v128): v128 {
  return v128.shuffle<i16>(i16x8.splat(0), v, 4, 12, 5, 13, 6, 14, 7, 15);
}

@inline
export function splatLane0(v: v128): v128 {
  return v128.shuffle<i32>(v, v, 0, 0, 0, 0);
}

@inline
export function splatLane1(v: v128): v128 {
  return v128.shuffle<i32>(v, v, 1, 1, 1, 1);
}

@inline
export function splatLane2(v: v128): v128 {
  return v128.shuffle<i32>(v, v, 2, 2, 2, 2);
}

@inline
export function splatLane3(v: v128): v128 {
  return v128.shuffle<i32>(v, v, 3, 3, 3, 3);
}

/** (l0 + l2) + (l1 + l3) of f32x4. */
@inline
export function sumLanes(v: v128): f32 {
  const pairs = f32x4.add(v, v128.shuffle<i32>(v, v, 2, 3, 0, 1));
  return f32x4.extract_lane(pairs, 0) + f32x4.extract_lane(pairs, 1);
}

/** Largest lane of f32x4; no lane may be NaN. */
@inline
export function maxLane(v: v128): f32 {
  const pairs = f32x4.pmax(v, v128.shuffle<i32>(v, v, 2, 3, 0, 1));
  return max(f32x4.extract_lane(pairs, 0), f32x4.extract_lane(pairs, 1));
}
