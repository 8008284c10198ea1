/**
 * The denoiser in float64 and plain loops, with the runtime's quantization: the oracle of the forward pass. It computes
 * each stream whole, without a cache.
 */

import type { Layer, Linear, Model } from '../random-model.ts';

type Rows = Float64Array[];

/** Tokens whose softmax weights share a scale. */
const BLOCK_TOKENS = 32;
const QUERY_MAX = 63;
const KEY_MAX = 63;
const VALUE_MAX = 127;

/** One head of a row, quantized. */
interface Quantized {
  q: Float64Array;
  scale: number;
}

/** Keys (rotated) and values of a stream, by layer, token and key/value head. */
export interface StreamStates {
  keys: Quantized[][][];
  values: Quantized[][][];
  /** Residual stream after each layer. */
  hidden: Rows[];
}

/** A causal pass over a context stream: sign 1 for a prefix, -1 for a suffix read backwards. */
export function referenceContext(model: Model, ids: readonly number[], sign: 1 | -1): StreamStates {
  const states: StreamStates = { keys: [], values: [], hidden: [] };
  const positions = ids.map((_, index) => sign * index);
  let x = embed(model, ids);
  for (const layer of model.layers) {
    const { q, k, v } = project(model, layer, x);
    const keys = k.map((row, i) => quantizeHeads(model, rotate(model, row, positions[i]!), KEY_MAX));
    const values = v.map((row) => quantizeHeads(model, row, VALUE_MAX));
    const queries = q.map((row, i) => rotate(model, row, positions[i]!));
    const attended = queries.map((query, i) =>
      attend(model, [{ query, keys: keys.slice(0, i + 1), values: values.slice(0, i + 1) }]),
    );
    x = finishLayer(model, layer, x, attended);
    states.keys.push(keys);
    states.values.push(values);
    states.hidden.push(x);
  }
  return states;
}

/** Hidden states after each layer of a canvas of `width` between two streams (the suffix may be missing). */
export function referenceCanvas(
  model: Model,
  ids: readonly number[],
  width: number,
  prefix: StreamStates,
  suffix: StreamStates | undefined,
): Rows[] {
  const prefixLength = prefix.keys[0]!.length;
  const suffixTokens = suffix ? suffix.keys[0]!.length - 1 : 0;
  const hidden: Rows[] = [];
  let x = embed(model, ids);
  for (const [index, layer] of model.layers.entries()) {
    const { q, k, v } = project(model, layer, x);
    const own = k.map((row, slot) => quantizeHeads(model, rotate(model, row, prefixLength + slot), KEY_MAX));
    const ownValues = v.map((row) => quantizeHeads(model, row, VALUE_MAX));
    const attended = q.map((row, slot) => {
      const segments = [
        {
          query: rotate(model, row, prefixLength + slot),
          keys: [...prefix.keys[index]!, ...own],
          values: [...prefix.values[index]!, ...ownValues],
        },
      ];
      if (suffix) {
        const query = rotate(model, row, -suffixTokens + slot - width);
        segments.push({ query, keys: suffix.keys[index]!, values: suffix.values[index]! });
      }
      return attend(model, segments);
    });
    x = finishLayer(model, layer, x, attended);
    hidden.push(x);
  }
  return hidden;
}

/** Residual stream after the last layer → logits (vocabulary) of each row. */
export function referenceLogits(model: Model, hidden: Rows): Rows {
  const { hiddenSize, vocabSize, normEps } = model.config;
  const { values, scales } = model.embedding;
  return hidden.map((row) => {
    const { q, scale } = quantize(rmsNorm(row, model.finalNorm, normEps));
    return Float64Array.from({ length: vocabSize }, (_, token) => {
      let sum = 0;
      for (let i = 0; i < hiddenSize; i++) sum += q[i]! * values[token * hiddenSize + i]!;
      return sum * scale * scales[token]!;
    });
  });
}

function embed({ config, embedding }: Model, ids: readonly number[]): Rows {
  return ids.map((id) =>
    Float64Array.from(
      embedding.values.subarray(id * config.hiddenSize, (id + 1) * config.hiddenSize),
      (value) => value * embedding.scales[id]!,
    ),
  );
}

function project({ config }: Model, layer: Layer, x: Rows): { q: Rows; k: Rows; v: Rows } {
  const normed = x.map((row) => rmsNorm(row, layer.inputNorm, config.normEps));
  const heads = (row: Float64Array, norm: Float32Array) =>
    mapHeads(row, config.headDim, (h) => rmsNorm(h, norm, config.normEps));
  return {
    q: normed.map((row) => heads(linear(layer.q, row), layer.qNorm)),
    k: normed.map((row) => heads(linear(layer.k, row), layer.kNorm)),
    v: normed.map((row) => linear(layer.v, row)),
  };
}

function finishLayer({ config }: Model, layer: Layer, x: Rows, attended: Rows): Rows {
  return x.map((row, i) => {
    const residual = add(row, linear(layer.o, attended[i]!));
    const normed = rmsNorm(residual, layer.postAttentionNorm, config.normEps);
    const up = linear(layer.up, normed);
    const gated = linear(layer.gate, normed).map((gate, j) => (gate / (1 + Math.exp(-gate))) * up[j]!);
    return add(residual, linear(layer.down, gated));
  });
}

/** Queries and what they see through that rotation. */
interface Segment {
  query: Float64Array; // (heads · headDim)
  keys: Quantized[][];
  values: Quantized[][];
}

/**
 * One softmax over several sets of keys, each with its own rotation of the query; on integers, as the kernels have it.
 */
function attend(model: Model, segments: Segment[]): Float64Array {
  const { heads, kvHeads, headDim } = model.config;
  const out = new Float64Array(heads * headDim);
  const queries = segments.map(({ query }) => quantizeHeads(model, query, QUERY_MAX));
  for (let head = 0; head < heads; head++) {
    const kvHead = Math.floor(head / (heads / kvHeads));
    const scores = segments.map(({ keys }, i) => {
      const { q, scale } = queries[i]![head]!;
      return keys.map((row) => (dot(q, row[kvHead]!.q) * scale * row[kvHead]!.scale) / Math.sqrt(headDim));
    });
    const largest = Math.max(...scores.flat());
    const powers = scores.map((ofSegment) => ofSegment.map((score) => Math.exp(score - largest)));
    const total = powers.flat().reduce((a, b) => a + b, 0);
    for (const [i, { values }] of segments.entries()) {
      for (let token = 0; token < values.length; token += BLOCK_TOKENS) {
        const block = values.slice(token, token + BLOCK_TOKENS).map((row) => row[kvHead]!);
        const { q, scale } = quantizeWeights(block.map((value, j) => powers[i]![token + j]! * value.scale));
        for (const [j, value] of block.entries()) {
          for (let d = 0; d < headDim; d++) out[head * headDim + d]! += (q[j]! * scale * value.q[d]!) / total;
        }
      }
    }
  }
  return out;
}

/** Weights of a block of tokens: those of tokens 4i + j, for each j apart, come to at most 124. */
function quantizeWeights(weights: readonly number[]): { q: number[]; scale: number } {
  const sums = [0, 0, 0, 0];
  for (const [token, weight] of weights.entries()) sums[token % 4]! += weight;
  const scale = Math.max(...sums) / 124;
  return { q: weights.map((weight) => (scale === 0 ? 0 : roundHalfEven(weight / scale))), scale };
}

function quantizeHeads({ config }: Model, row: Float64Array, largest: number): Quantized[] {
  return Array.from({ length: row.length / config.headDim }, (_, head) =>
    quantize(row.slice(head * config.headDim, (head + 1) * config.headDim), largest),
  );
}

function dot(a: Float64Array, b: Float64Array): number {
  return a.reduce((sum, value, i) => sum + value * b[i]!, 0);
}

function linear({ n, k, values, scales }: Linear, x: Float64Array): Float64Array {
  const { q, scale } = quantize(x);
  return Float64Array.from({ length: n }, (_, row) => {
    let sum = 0;
    for (let i = 0; i < k; i++) sum += q[i]! * values[row * k + i]! * scales[(row * k + i) >> 5]!;
    return sum * scale;
  });
}

function quantize(x: Float64Array, largest = 127): Quantized {
  const absmax = x.reduce((above, value) => Math.max(above, Math.abs(value)), 0);
  return {
    q: x.map((value) => (absmax === 0 ? 0 : roundHalfEven((value * largest) / absmax))),
    scale: absmax / largest,
  };
}

function roundHalfEven(value: number): number {
  const rounded = Math.round(value);
  return rounded - value === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}

function rmsNorm(x: Float64Array, weight: Float32Array, eps: number): Float64Array {
  const mean = x.reduce((sum, value) => sum + value * value, 0) / x.length;
  return x.map((value, i) => (value / Math.sqrt(mean + eps)) * weight[i]!);
}

function rotate({ config }: Model, x: Float64Array, position: number): Float64Array {
  const half = config.headDim / 2;
  return mapHeads(x, config.headDim, (head) =>
    head.map((value, d) => {
      const angle = position * config.ropeTheta ** ((-2 * (d % half)) / config.headDim);
      const partner = d < half ? -head[d + half]! : head[d - half]!;
      return value * Math.cos(angle) + partner * Math.sin(angle);
    }),
  );
}

function mapHeads(x: Float64Array, headDim: number, change: (head: Float64Array) => Float64Array): Float64Array {
  const out = new Float64Array(x.length);
  for (let at = 0; at < x.length; at += headDim) out.set(change(x.slice(at, at + headDim)), at);
  return out;
}

function add(a: Float64Array, b: Float64Array): Float64Array {
  return a.map((value, i) => value + b[i]!);
}
