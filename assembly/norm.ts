/**
 * RMSNorm (arXiv 1910.07467): x / √(mean(x²) + eps) · weight. No `multiplyAdd`: what is quantized has the same bits on
 * both builds.
 */
import { quantizeRow } from './quantize';
import { sumLanes } from './simd';

/** Normalises x (rows, k) by weight (k) and quantizes the result into the activation block a. */
export function rmsNormQuantizeRows(x: usize, weight: usize, rows: i32, k: i32, eps: f32, a: usize): void {
  for (let row = 0; row < rows; row++) {
    const values = x + ((row * k) << 2);
    quantizeRow(values, weight, inverseRms(values, k, eps), k, a, rows, row);
  }
}

/** 1 / √(mean(x²) + eps) over x (k), k a multiple of 8. */
@inline
export function inverseRms(x: usize, k: i32, eps: f32): f32 {
  let sum0 = f32x4.splat(0);
  let sum1 = sum0;
  const end = x + (k << 2);
  for (let at = x; at < end; at += 32) {
    const v0 = v128.load(at);
    const v1 = v128.load(at, 16);
    sum0 = f32x4.add(sum0, f32x4.mul(v0, v0));
    sum1 = f32x4.add(sum1, f32x4.mul(v1, v1));
  }
  return 1 / sqrt(sumLanes(f32x4.add(sum0, sum1)) / <f32>k + eps);
}
