/**
 * Operands of the kernel probe and what they give, in plain numbers. Scales are powers of two and integers stay below
 * 2^24, so that float32 holds every product exactly, in whatever order it is summed.
 */

import { BLOCK_TOKENS } from './pointers.ts';

export const SHAPES = {
  rows: 8,
  /** Two groups of weights. */
  k: 64,
  /** A pair of panels and one more. */
  n: 24,
  topK: 3,
  headDim: 16,
  /** A whole block of the cache, a part of one, and what the last row of a causal stream sees beyond that. */
  seen: BLOCK_TOKENS + 3 + 7,
  prefixTokens: BLOCK_TOKENS + 3,
  suffixTokens: 9,
  /** Scores stay between -4 and 4: no token takes all of the attention. */
  scoreScale: 2 ** -14,
} as const;

/** Operands as (rows, columns). Expected results have SHAPES.rows rows, of which a call computes the first ones. */
export interface ProbeCases {
  readonly x: readonly number[]; // (rows, k) in [-127, 127]
  readonly u4: readonly number[]; // (n, k/2) bytes of two nibbles
  readonly u7: readonly number[]; // (n, k) int8 as bytes
  readonly queries: readonly number[]; // (rows, headDim)
  readonly keys: readonly number[]; // (seen, headDim)
  readonly values: readonly number[]; // (seen, headDim)
  readonly weights: readonly number[]; // (rows, seen)
  readonly gateUp: readonly number[]; // (rows, k)
  readonly expected: {
    /** Added up twice. */
    readonly u4: readonly number[];
    readonly u7: readonly number[];
    readonly head: readonly number[];
    readonly canvas: readonly number[];
    readonly causal: readonly number[];
    readonly scores: readonly number[];
    readonly softmax: readonly number[];
    readonly mix: readonly number[];
    readonly swiglu: readonly number[];
  };
}

let made: ProbeCases | undefined;

/** Made at the first call; the same for every build. */
export function probeCases(): ProbeCases {
  made ??= makeCases();
  return made;
}

function makeCases(): ProbeCases {
  const { rows, k, n, topK, headDim, seen, prefixTokens, suffixTokens, scoreScale } = SHAPES;
  const x = integers(rows, k, -127, 127);
  const u4 = integers(n, k, -8, 7);
  // A linear function of the 4-bit weights, up to 63: so are its products.
  const u7 = u4.map((weight) => -8 * weight - 1);
  const queries = integers(rows, headDim, -63, 63);
  const keys = integers(seen, headDim, -63, 63);
  const values = integers(seen, headDim, -127, 127);
  const weights = integers(rows, seen, -63, 63);
  const gateUp = x.map((value) => value / 16);

  const products = multiply(x, u4, k);
  const logits = products.map((product, at) => -8 * product - sumOf(x, Math.floor(at / n), k));
  const scores = multiply(queries, keys, headDim).map((dot) => dot * scoreScale);
  const eachRow = (valuesOf: (row: number) => number[]) =>
    Array.from({ length: rows }, (_, row) => valuesOf(row)).flat();
  const scoresOf = (row: number, count: number) => scores.slice(row * seen, row * seen + count);
  return {
    x,
    u4: Array.from({ length: u4.length / 2 }, (_, i) => u4[2 * i]! + 8 + ((u4[2 * i + 1]! + 8) << 4)),
    u7: u7.map((value) => value & 0xff),
    queries,
    keys,
    values,
    weights,
    gateUp,
    expected: {
      u4: products.map((product) => 2 * product),
      u7: logits,
      head: eachRow((row) =>
        logits
          .slice(row * n, (row + 1) * n)
          .sort((one, other) => other - one)
          .slice(0, topK),
      ),
      canvas: eachRow((row) => attend([scoresOf(row, suffixTokens), scoresOf(row, prefixTokens)], values)),
      causal: eachRow((row) => attend([scoresOf(row, prefixTokens + row)], values)),
      scores,
      softmax: eachRow((row) => softmax(scoresOf(row, seen))),
      mix: eachRow((row) => weightedSum(weights.slice(row * seen, (row + 1) * seen), values, 0)),
      swiglu: eachRow((row) => swiglu(gateUp.slice(row * k, (row + 1) * k))),
    },
  };
}

/**
 * Integers (rows, columns) in [lowest, highest]. Each row begins with `highest`, so that quantizing it to that range
 * changes nothing. The first two have only both ends, where a lowering that saturates goes wrong.
 */
function integers(rows: number, columns: number, lowest: number, highest: number): number[] {
  const span = highest - lowest + 1;
  const all: number[] = [];
  for (let row = 0; row < rows; row++) {
    all.push(highest);
    for (let column = 1; column < columns; column++) {
      const mixed = lowest + ((Math.imul(all.length, 0x9e3779b1) >>> 12) % span);
      all.push(row === 0 ? lowest : row > 1 ? mixed : column % 2 === 0 ? highest : lowest);
    }
  }
  return all;
}

/** x (rows, k) × w (n, k)ᵀ. */
function multiply(x: readonly number[], w: readonly number[], k: number): number[] {
  const product: number[] = [];
  // Plain loops, here and below: this runs once, before the engine compiles it.
  for (let row = 0; row < x.length; row += k) {
    for (let column = 0; column < w.length; column += k) {
      let sum = 0;
      for (let i = 0; i < k; i++) sum += x[row + i]! * w[column + i]!;
      product.push(sum);
    }
  }
  return product;
}

function sumOf(x: readonly number[], row: number, k: number): number {
  let sum = 0;
  for (let i = row * k; i < (row + 1) * k; i++) sum += x[i]!;
  return sum;
}

/** weights (tokens) × the rows of `values` (…, headDim) from `start` on → (headDim). */
function weightedSum(weights: readonly number[], values: readonly number[], start: number): number[] {
  const { headDim } = SHAPES;
  const sums = Array<number>(headDim).fill(0);
  for (let token = 0; token < weights.length; token++) {
    const weight = weights[token]!;
    const from = (start + token) * headDim;
    for (let d = 0; d < headDim; d++) sums[d]! += weight * values[from + d]!;
  }
  return sums;
}

function softmax(scores: readonly number[]): number[] {
  const powers = scores.map((score) => Math.exp(score));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}

/** k/2 gates and k/2 ups → silu(gate) · up. */
function swiglu(gateUp: readonly number[]): number[] {
  const half = gateUp.length / 2;
  return gateUp.slice(0, half).map((gate, i) => (gate / (1 + Math.exp(-gate))) * gateUp[half + i]!);
}

/**
 * Attention of one query with powers of two, over each of several sides the first tokens of `values`. As the kernel
 * does, the weights of a block take 7 bits: those of tokens 4i + j, for each j apart, add up to at most 124.
 */
function attend(sides: readonly (readonly number[])[], values: readonly number[]): number[] {
  const largest = Math.max(...sides.flat());
  let total = 0;
  let out = Array<number>(SHAPES.headDim).fill(0);
  for (const scores of sides) {
    for (let start = 0; start < scores.length; start += BLOCK_TOKENS) {
      const powers = scores.slice(start, start + BLOCK_TOKENS).map((score) => 2 ** (score - largest));
      const lanes = [0, 0, 0, 0];
      for (let token = 0; token < powers.length; token++) {
        lanes[token % 4]! += powers[token]!;
        total += powers[token]!;
      }
      const scale = Math.max(...lanes) / 124;
      const weights = powers.map((power) => Math.round(power / scale) * scale);
      const sums = weightedSum(weights, values, start);
      out = out.map((value, d) => value + sums[d]!);
    }
  }
  return out.map((value) => value / total);
}
