/**
 * The denoiser in float64 and plain loops, with the runtime's quantization: the oracle of the forward pass. It computes each
 * stream whole, without a cache.
 */

import type { Layer, Linear, Model } from './random-model.ts';

type Rows = Float64Array[];

/** Keys (rotated) and values of a stream, by layer and token: (kvHeads · headDim). */
export interface StreamStates {
  keys: Rows[];
  values: Rows[];
  /** Residual stream behind each layer. */
  hidden: Rows[];
}

/** A causal pass over a context stream: sign 1 for a prefix, -1 for a suffix read backwards. */
export function referenceContext(model: Model, ids: readonly number[], sign: 1 | -1): StreamStates {
  const states: StreamStates = { keys: [], values: [], hidden: [] };
  const positions = ids.map((_, index) => sign * index);
  let x = embed(model, ids);
  for (const layer of model.layers) {
    const { q, k, v } = project(model, layer, x);
    const keys = k.map((row, i) => rotate(model, row, positions[i]!));
    const queries = q.map((row, i) => rotate(model, row, positions[i]!));
    const mixed = queries.map((query, i) =>
      attend(model, [{ query, keys: keys.slice(0, i + 1), values: v.slice(0, i + 1) }]),
    );
    x = finishLayer(model, layer, x, mixed);
    states.keys.push(keys);
    states.values.push(v);
    states.hidden.push(x);
  }
  return states;
}

/** Hidden states behind each layer of a canvas of `width` between two streams (the suffix may be missing). */
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
    const own = k.map((row, slot) => rotate(model, row, prefixLength + slot));
    const mixed = q.map((row, slot) => {
      const segments = [
        {
          query: rotate(model, row, prefixLength + slot),
          keys: [...prefix.keys[index]!, ...own],
          values: [...prefix.values[index]!, ...v],
        },
      ];
      if (suffix) {
        const query = rotate(model, row, -suffixTokens + slot - width);
        segments.push({ query, keys: suffix.keys[index]!, values: suffix.values[index]! });
      }
      return attend(model, segments);
    });
    x = finishLayer(model, layer, x, mixed);
    hidden.push(x);
  }
  return hidden;
}

/** Residual stream behind the last layer → logits (vocabulary) of each row. */
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

function finishLayer({ config }: Model, layer: Layer, x: Rows, mixed: Rows): Rows {
  return x.map((row, i) => {
    const attended = add(row, linear(layer.o, mixed[i]!));
    const normed = rmsNorm(attended, layer.postAttentionNorm, config.normEps);
    const up = linear(layer.up, normed);
    const gated = linear(layer.gate, normed).map((gate, j) => (gate / (1 + Math.exp(-gate))) * up[j]!);
    return add(attended, linear(layer.down, gated));
  });
}

/** One softmax over several sets of keys, each with its own rotation of the query. */
function attend({ config }: Model, segments: { query: Float64Array; keys: Rows; values: Rows }[]): Float64Array {
  const { heads, kvHeads, headDim } = config;
  const out = new Float64Array(heads * headDim);
  for (let head = 0; head < heads; head++) {
    const from = Math.floor(head / (heads / kvHeads)) * headDim;
    const scores = segments.flatMap(({ query, keys }) =>
      keys.map((key) => {
        let sum = 0;
        for (let d = 0; d < headDim; d++) sum += query[head * headDim + d]! * key[from + d]!;
        return sum / Math.sqrt(headDim);
      }),
    );
    const largest = Math.max(...scores);
    const weights = scores.map((score) => Math.exp(score - largest));
    const total = weights.reduce((a, b) => a + b, 0);
    const values = segments.flatMap((segment) => segment.values);
    for (const [i, weight] of weights.entries()) {
      for (let d = 0; d < headDim; d++) out[head * headDim + d]! += (weight / total) * values[i]![from + d]!;
    }
  }
  return out;
}

function linear({ n, k, values, scales }: Linear, x: Float64Array): Float64Array {
  const { q, scale } = quantize(x);
  return Float64Array.from({ length: n }, (_, row) => {
    let sum = 0;
    for (let i = 0; i < k; i++) sum += q[i]! * values[row * k + i]! * scales[(row * k + i) >> 5]!;
    return sum * scale;
  });
}

function quantize(x: Float64Array): { q: Float64Array; scale: number } {
  const absmax = x.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0);
  return { q: x.map((value) => (absmax === 0 ? 0 : roundHalfEven((value * 127) / absmax))), scale: absmax / 127 };
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
