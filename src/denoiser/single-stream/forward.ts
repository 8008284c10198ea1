/**
 * One pass over a stretch of the stream: Qwen2's or Qwen3's layer. Activations are quantized before every linear layer; queries, keys and
 * values stay float32, for Qwen2's biases make keys whose channels differ by orders of magnitude.
 */

import type { Pointer } from '../transformer/kernel-exports.ts';
import type { Kernels } from '../transformer/kernels.ts';
import { finishLayer } from '../transformer/layer.ts';
import type { SingleStreamConfig } from './config.ts';
import type { SingleStreamLayer, SingleStreamPlan } from './memory.ts';

const FLOAT_BYTES = 4;

export class SingleStreamPass {
  readonly #config: SingleStreamConfig;
  readonly #kernels: Kernels;
  readonly #plan: SingleStreamPlan;
  readonly #memory: WebAssembly.Memory;
  readonly #queryWidth: number;
  readonly #qkvWidth: number;

  constructor(config: SingleStreamConfig, kernels: Kernels, plan: SingleStreamPlan, memory: WebAssembly.Memory) {
    this.#config = config;
    this.#kernels = kernels;
    this.#plan = plan;
    this.#memory = memory;
    this.#queryWidth = config.heads * config.headDim;
    this.#qkvWidth = this.#queryWidth + 2 * config.kvHeads * config.headDim;
  }

  /**
   * Computes `ids` at positions `start` and on, which see the cached tokens before `start` and each other as the attention has it; their
   * keys and values are cached, their hidden states lie in `scratch.hidden`. `start` is 0 or the beginning of a block.
   */
  run(start: number, ids: ArrayLike<number>): void {
    const { scratch, embedding, layers } = this.#plan;
    const { vocabSize, hiddenSize } = this.#config;
    const rows = ids.length;
    if (rows > this.#plan.maxRows) throw new RangeError(`${rows} rows, a pass has at most ${this.#plan.maxRows}`);
    const { buffer } = this.#memory;
    new Int32Array(buffer, scratch.ids, rows).set(ids);
    const positions = new Int32Array(buffer, scratch.positions, rows);
    for (let row = 0; row < rows; row++) positions[row] = start + row;
    this.#kernels.embedRows(scratch.ids, rows, embedding, vocabSize, hiddenSize, scratch.hidden);
    for (const [index, layer] of layers.entries()) {
      this.#project(layer, rows);
      this.#store(index, start, rows);
      this.#attend(index, start, rows);
      finishLayer(this.#kernels, this.#config, layer, this.#plan.scratch, rows);
    }
  }

  /** hidden → rotated queries and keys, and values, in `scratch.qkv` (rows, q | k | v). */
  #project(layer: SingleStreamLayer, rows: number): void {
    const { hidden, activations, qkv, positions } = this.#plan.scratch;
    const { hiddenSize, heads, kvHeads, headDim, normEps, hasBiases, hasQkNorm } = this.#config;
    const width = this.#qkvWidth;
    const keys = qkv + this.#queryWidth * FLOAT_BYTES;
    const kernels = this.#kernels;
    kernels.rmsNormQuantizeRows(hidden, layer.inputNorm, rows, hiddenSize, normEps, activations);
    kernels.matmulU4(activations, rows, hiddenSize, layer.qkv, width, qkv, 0);
    if (hasBiases) kernels.addBias(qkv, rows, width, width, layer.qkvBias);
    if (hasQkNorm) {
      kernels.normHeads(qkv, rows, width, heads, headDim, layer.qNorm, normEps);
      kernels.normHeads(keys, rows, width, kvHeads, headDim, layer.kNorm, normEps);
    }
    // Queries and keys lie next to each other and turn alike.
    kernels.rotateHeads(qkv, rows, width, heads + kvHeads, headDim, positions, this.#plan.rotaryTable, qkv, width);
  }

  #store(layer: number, start: number, tokens: number): void {
    const { kvHeads, headDim } = this.#config;
    for (let head = 0; head < kvHeads; head++) {
      const keys = this.#plan.scratch.qkv + (this.#queryWidth + head * headDim) * FLOAT_BYTES;
      const values = keys + kvHeads * headDim * FLOAT_BYTES;
      const cache = this.#cacheOf(layer, head);
      this.#kernels.storeFloatKeysValues(
        keys,
        values,
        tokens,
        this.#qkvWidth,
        headDim,
        cache.keys,
        cache.values,
        start,
      );
    }
  }

  #attend(layer: number, start: number, tokens: number): void {
    const { scratch, scoreStride } = this.#plan;
    const { heads, kvHeads, headDim } = this.#config;
    const end = start + tokens;
    for (let head = 0; head < heads; head++) {
      const cache = this.#cacheOf(layer, Math.floor(head / (heads / kvHeads)));
      const queries = scratch.qkv + head * headDim * FLOAT_BYTES;
      const attended = scratch.attended + head * headDim * FLOAT_BYTES;
      const scale = headDim ** -0.5;
      const width = this.#qkvWidth;
      const { scores } = scratch;
      this.#kernels.attentionScores(queries, width, tokens, headDim, cache.keys, end, scale, scores, scoreStride);
      this.#weigh(start, tokens);
      this.#kernels.attentionMix(
        scores,
        scoreStride,
        tokens,
        cache.values,
        end,
        headDim,
        attended,
        this.#queryWidth,
        0,
      );
    }
  }

  /** Scores → weights: each row over all it sees, which is everything, or what lies before the end of its block. */
  #weigh(start: number, tokens: number): void {
    const { scratch, scoreStride } = this.#plan;
    const end = start + tokens;
    const step = this.#config.diffusion.blockSize || tokens;
    for (let first = 0; first < tokens; first += step) {
      const rows = Math.min(step, tokens - first);
      const scores = scratch.scores + first * scoreStride * FLOAT_BYTES;
      this.#kernels.softmaxRows(scores, rows, scoreStride, start + first + rows, end);
    }
  }

  #cacheOf(layer: number, kvHead: number): { keys: Pointer; values: Pointer } {
    const { cache, cacheLayers, cacheHeadBytes } = this.#plan;
    const keys = cache + ((layer % cacheLayers) * this.#config.kvHeads + kvHead) * cacheHeadBytes;
    return { keys, values: keys + cacheHeadBytes / 2 };
  }
}
