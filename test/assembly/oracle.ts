/** The kernels as plain loops in double precision; integers are exact. */

/** Repeatable pseudo-random numbers (mulberry32). */
export class Random {
  private state: number;

  constructor(seed: number) {
    this.state = seed;
  }

  /** In [0, 1). */
  next(): number {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.state ^ (this.state >>> 15), this.state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  floats(length: number, scale = 1): Float32Array {
    return Float32Array.from({ length }, () => (this.next() + this.next() - 1) * scale);
  }

  /** Integers in [lowest, highest]. */
  integers(length: number, lowest: number, highest: number): Int32Array {
    return Int32Array.from({ length }, () => lowest + Math.floor(this.next() * (highest - lowest + 1)));
  }

  /** Positive values that bfloat16 holds exactly. */
  scales(length: number): Float32Array {
    return Float32Array.from({ length }, () => (128 + Math.floor(this.next() * 128)) / 2 ** 14);
  }
}

export function nearestEven(x: number): number {
  const floor = Math.floor(x);
  const fraction = x - floor;
  if (fraction !== 0.5) return Math.round(x);
  return floor % 2 === 0 ? floor : floor + 1;
}

export interface QuantizedRows {
  readonly q: Int8Array; // (rows, k)
  readonly scales: Float32Array; // (rows)
}

/**
 * Per row: scale = absmax/127, q = nearestEven(x · 127/absmax), every operation rounded to float32 as the kernel does.
 */
export function quantize(x: Float32Array, rows: number, k: number): QuantizedRows {
  const q = new Int8Array(rows * k);
  const scales = new Float32Array(rows);
  for (let row = 0; row < rows; row++) {
    const values = x.subarray(row * k, (row + 1) * k);
    const absmax = values.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0);
    if (absmax === 0) continue;
    scales[row] = absmax / 127;
    const inverse = Math.fround(127 / absmax);
    for (let i = 0; i < k; i++) q[row * k + i] = nearestEven(Math.fround(values[i]! * inverse));
  }
  return { q, scales };
}

/** Byte of q[row, i] in an activation block. */
export function activationIndex(row: number, i: number, rows: number, k: number): number {
  if (row >= rows - (rows % 4)) return row * k + i;
  return ((Math.floor(row / 4) * (k / 4) + Math.floor(i / 4)) * 4 + (row % 4)) * 4 + (i % 4);
}

/** Σ over [from, to) of q[row, i] · w[column, i]. */
export function dot(
  q: ArrayLike<number>,
  w: ArrayLike<number>,
  row: number,
  column: number,
  k: number,
  from = 0,
  to = k,
): number {
  let sum = 0;
  for (let i = from; i < to; i++) sum += q[row * k + i]! * w[column * k + i]!;
  return sum;
}

export function rmsNorm(x: ArrayLike<number>, weight: ArrayLike<number>, eps: number): number[] {
  let squares = 0;
  for (let i = 0; i < x.length; i++) squares += x[i]! ** 2;
  const inverse = 1 / Math.sqrt(squares / x.length + eps);
  return Array.from(x, (value, i) => value * inverse * weight[i]!);
}

export function softmax(values: readonly number[]): number[] {
  const largest = Math.max(...values);
  const powers = values.map((value) => Math.exp(value - largest));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}

/** Nibbles of u4 weights (values in [-8, 7]) two a byte, the even one low. */
export function nibbles(weights: ArrayLike<number>): Uint8Array {
  return Uint8Array.from(
    { length: weights.length / 2 },
    (_, j) => weights[2 * j]! + 8 + ((weights[2 * j + 1]! + 8) << 4),
  );
}
