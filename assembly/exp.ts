/**
 * Exponential on vectors and logarithm on scalars. Source of the method: Cephes `expf` and `logf` (range reduction,
 * then a polynomial).
 */
import { multiplyAdd } from './simd';

/**
 * 1.5 · 2^23. Adding it to |x| < 2^22 rounds x to the nearest integer, ties to even, and leaves that integer in the low
 * bits of the sum.
 */
export const ROUNDER: f32 = 12582912;

const LN_2: f64 = 0.6931471805599453;

// Vectors of the constants of `exp`, 16 bytes each. There are more of them than registers to spare, and an engine
// re-creates a constant that is written in the code at each of its uses, for more than a load: in memory they made
// softmax twice as fast.
const CONSTANTS: usize = memory.data<f32>(
  [
    1.44269504, 1.44269504, 1.44269504, 1.44269504, // log2 e
    -100, -100, -100, -100, // as good as nothing, and what is multiplied with it stays a normal number
    12582912, 12582912, 12582912, 12582912, // ROUNDER
    // 2^f for f in [-½, ½], minimax with the constant term held at 1: relative error 9e-8, in float32 below 2e-7.
    0.0013264728, 0.0013264728, 0.0013264728, 0.0013264728, // f^5
    0.009671513, 0.009671513, 0.009671513, 0.009671513, // f^4
    0.055507336, 0.055507336, 0.055507336, 0.055507336, // f^3
    0.24022242, 0.24022242, 0.24022242, 0.24022242, // f^2
    0.693147, 0.693147, 0.693147, 0.693147, // f
    1, 1, 1, 1,
  ],
  16,
);

/** exp(x) on f32x4 for x ≤ 87.3. Relative error below 2e-7 + |x| · 8e-8, the latter from the rounding of x · log2 e. */
@inline
export function exp(x: v128): v128 {
  return exp2(f32x4.mul(x, v128.load(CONSTANTS)));
}

/**
 * 2^x on f32x4 for x < 126.5. Relative error below 2e-7. Below -100 it stays at 2^-100: the exponent field never
 * reaches 0.
 */
@inline
export function exp2(x: v128): v128 {
  const exponent = f32x4.pmax(v128.load(CONSTANTS, 16), x);
  const rounded = f32x4.add(exponent, v128.load(CONSTANTS, 32));
  const fraction = f32x4.sub(exponent, f32x4.sub(rounded, v128.load(CONSTANTS, 32)));
  let power = multiplyAdd(v128.load(CONSTANTS, 48), fraction, v128.load(CONSTANTS, 64));
  power = multiplyAdd(power, fraction, v128.load(CONSTANTS, 80));
  power = multiplyAdd(power, fraction, v128.load(CONSTANTS, 96));
  power = multiplyAdd(power, fraction, v128.load(CONSTANTS, 112));
  power = multiplyAdd(power, fraction, v128.load(CONSTANTS, 128));
  // The low 9 bits of ROUNDER are 0, so the shift leaves only the integer in the exponent field.
  return i32x4.add(power, i32x4.shl(rounded, 23));
}

/**
 * Natural logarithm of a normal, positive x, in double precision: ln x = e ln 2 + 2 atanh((m - 1) / (m + 1)) for
 * x = 2^e · m, m in [√½, √2).
 */
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
