/**
 * Attention as plain loops in double precision over quantized queries, keys and values; the quantized integers are
 * exact.
 */
import { nearestEven } from '../oracle.ts';

export const QUERY_MAX = 63;
export const KEY_MAX = 63;
export const VALUE_MAX = 127;
export const BLOCK_TOKENS = 32;
const LARGEST_WEIGHT_SUM = 124;

/** Rows of integers with a scale each. */
export interface QuantizedHeads {
  readonly q: Int8Array; // (rows, headDim)
  readonly scales: Float32Array; // (rows)
}

/** One set of keys and values, the queries rotated for it, and how many of its tokens each query sees. */
export interface Segment {
  readonly queries: QuantizedHeads;
  readonly keys: QuantizedHeads;
  readonly values: QuantizedHeads;
  readonly seen: (query: number) => number;
}

/** Attention of one query, (headDim), over all segments in one softmax. Scores are powers of two. */
export function attentionOf(query: number, segments: readonly Segment[], headDim: number): number[] {
  const scores = segments.map(({ queries, keys, seen }) =>
    Array.from({ length: seen(query) }, (_, token) => {
      let sum = 0;
      for (let d = 0; d < headDim; d++) sum += queries.q[query * headDim + d]! * keys.q[token * headDim + d]!;
      return sum * queries.scales[query]! * keys.scales[token]!;
    }),
  );
  const largest = Math.max(...scores.flat());
  const powers = scores.map((ofSegment) => ofSegment.map((score) => 2 ** (score - largest)));
  const total = powers.flat().reduce((sum, power) => sum + power, 0);
  const out = new Array<number>(headDim).fill(0);
  for (const [i, { values }] of segments.entries()) {
    for (let first = 0; first < powers[i]!.length; first += BLOCK_TOKENS) {
      const weights = powers[i]!.slice(first, first + BLOCK_TOKENS).map(
        (power, j) => power * values.scales[first + j]!,
      );
      const { q, scale } = quantizeWeights(weights);
      for (const [j, weight] of q.entries()) {
        for (let d = 0; d < headDim; d++) out[d]! += (weight * scale * values.q[(first + j) * headDim + d]!) / total;
      }
    }
  }
  return out;
}

/** The weights of tokens 4i + j, for each j apart, come to at most 124. */
function quantizeWeights(weights: readonly number[]): { q: number[]; scale: number } {
  const sums = [0, 0, 0, 0];
  for (const [token, weight] of weights.entries()) sums[token % 4]! += weight;
  const scale = Math.max(...sums) / LARGEST_WEIGHT_SUM;
  return { q: weights.map((weight) => (scale === 0 ? 0 : nearestEven(weight / scale))), scale };
}

/**
 * One head: normed by `weight` unless it is absent, then turned by its position. Float32 operations in the kernels'
 * order are not modelled: use it with a tolerance.
 */
export function turnedHead(
  x: ArrayLike<number>,
  weight: ArrayLike<number> | undefined,
  eps: number,
  position: number,
  theta: number,
): number[] {
  const [n, half] = [x.length, x.length / 2];
  const values = Array.from(x);
  const inverse = 1 / Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / n + eps);
  const normed = weight ? values.map((value, d) => value * inverse * weight[d]!) : values;
  return normed.map((value, d) => {
    const angle = position * theta ** ((-2 * (d % half)) / n);
    const partner = d < half ? -normed[d + half]! : normed[d - half]!;
    return value * Math.cos(angle) + partner * Math.sin(angle);
  });
}
