/** Exponential on vectors and logarithm on scalars. Source of the method: Cephes `expf` and `logf` (range reduction, then a polynomial). */
import { multiplyAdd } from './simd';

/** 1.5 · 2^23. Adding it to |x| < 2^22 rounds x to the nearest integer, ties to even, and leaves that integer in the low bits of the sum. */
export const ROUNDER: f32 = 12582912;

const LOG2_E: f32 = 1.44269504;
const LN_2: f64 = 0.6931471805599453;

// 2^f for f in [-1/2, 1/2], least squares on Chebyshev nodes with the constant term held at 1: relative error below 3e-6.
const C1: f32 = 0.693147182;
const C2: f32 = 0.240226462;
const C3: f32 = 0.0555041;
const C4: f32 = 0.00961812;
const C5: f32 = 0.00133336;

// 2^±126 are the ends of the normal range: the exponent field neither overflows nor reaches 0.
const MAX_EXPONENT: f32 = 126;

/** exp(x) on f32x4, relative error below 3e-6 (plus |x| · 6e-8 from the product x · log2 e); x beyond ±87.3 gives 2^±126. */
@inline
export function exp(x: v128): v128 {
  const exponent = f32x4.mul(x, f32x4.splat(LOG2_E));
  const bounded = f32x4.pmin(f32x4.splat(MAX_EXPONENT), f32x4.pmax(f32x4.splat(-MAX_EXPONENT), exponent));
  const rounded = f32x4.add(bounded, f32x4.splat(ROUNDER));
  const fraction = f32x4.sub(bounded, f32x4.sub(rounded, f32x4.splat(ROUNDER)));
  let power = multiplyAdd(f32x4.splat(C5), fraction, f32x4.splat(C4));
  power = multiplyAdd(power, fraction, f32x4.splat(C3));
  power = multiplyAdd(power, fraction, f32x4.splat(C2));
  power = multiplyAdd(power, fraction, f32x4.splat(C1));
  power = multiplyAdd(power, fraction, f32x4.splat(1));
  // The low 9 bits of ROUNDER are 0, so the shift leaves the integer alone in the exponent field.
  return i32x4.add(power, i32x4.shl(rounded, 23));
}

/** Natural logarithm of a normal, positive x, in double precision: ln x = e ln 2 + 2 atanh((m - 1) / (m + 1)), m in [√½, √2). */
export function log(x: f32): f32 {
  const bits = reinterpret<i32>(x);
  // Subtracting the bits of √½ makes the exponent field count from √½ instead of 1.
  const exponent = (bits - 0x3f3504f3) >> 23;
  const mantissa = <f64>reinterpret<f32>(bits - (exponent << 23));
  const t = (mantissa - 1) / (mantissa + 1);
  const t2 = t * t;
  // |t| ≤ 0.172: the first term left out is t^11 / 11 < 4e-10.
  const series = 1 + t2 * (1 / 3.0 + t2 * (1 / 5.0 + t2 * (1 / 7.0 + t2 / 9.0)));
  return <f32>(<f64>exponent * LN_2 + 2 * t * series);
}
