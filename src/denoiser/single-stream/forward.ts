/**
 * One pass over a stretch of the stream: Qwen2's or Qwen3's layer. Activations are quantized before every linear layer;
 * queries, keys and values stay float32, for Qwen2's biases make keys whose channels differ by orders of magnitude.
 */

import { FLOAT_BYTES } from '../transformer/arena.ts';
import type { Pointer } from '../transformer/kernel-exports.ts';
import type { LayerPointers } from '../transformer/pointers.ts';
import type { Transformer } from '../transformer/transformer.ts';
import type { SingleStreamConfig } from './config.ts';
import type { SingleStreamPlan } from './memory.ts';

export class SingleStreamPass {
  readonly #config: SingleStreamConfig;
  readonly #transformer: Transformer<SingleStreamPlan>;

  constructor(config: SingleStreamConfig, transformer: Transformer<SingleStreamPlan>) {
    this.#config = config;
    this.#transformer = transformer;
  }

  /**
   * Computes `ids` at positions `start` and on, which see the cached tokens before `start` and, depending on the
   * attention, each other. Their keys and values are cached, and their hidden states are in `scratch.hidden`. `start`
   * is 0 or the beginning of a block.
   */
  run(start: number, ids: ArrayLike<number>): void {
    const transformer = this.#transformer;
    const { scratch, layers, maxRows } = transformer.plan;
    const rows = ids.length;
    if (rows > maxRows) throw new RangeError(`${rows} rows, a pass has at most ${maxRows}`);
    transformer.writeInts(scratch.ids, 0, rows, (row) => ids[row]!);
    transformer.writeInts(scratch.positions, 0, rows, (row) => start + row);
    transformer.embed(rows);
    for (const [index, layer] of layers.entries()) {
      transformer.project(layer, rows);
      this.#normAndRotate(layer, rows);
      this.#store(index, start, rows);
      this.#attend(index, start, rows);
      transformer.finish(layer, rows);
    }
  }

  /** Queries and keys in `scratch.qkv`, in place. */
  #normAndRotate(layer: LayerPointers, rows: number): void {
    const { kernels, plan, queryWidth, qkvWidth } = this.#transformer;
    const { qkv, positions } = plan.scratch;
    const { heads, kvHeads, headDim, normEps, hasQkNorm } = this.#config;
    if (hasQkNorm) {
      const keys = qkv + queryWidth * FLOAT_BYTES;
      kernels.normHeads(qkv, rows, qkvWidth, heads, headDim, layer.qNorm, normEps);
      kernels.normHeads(keys, rows, qkvWidth, kvHeads, headDim, layer.kNorm, normEps);
    }
    // Queries and keys are adjacent and rotated in the same way.
    kernels.rotateHeads(qkv, rows, qkvWidth, heads + kvHeads, headDim, positions, plan.rotaryTable, qkv, qkvWidth);
  }

  #store(layer: number, start: number, tokens: number): void {
    const { kernels, plan, queryWidth, keyWidth, qkvWidth } = this.#transformer;
    const { kvHeads, headDim } = this.#config;
    for (let head = 0; head < kvHeads; head++) {
      const k = plan.scratch.qkv + (queryWidth + head * headDim) * FLOAT_BYTES;
      const v = k + keyWidth * FLOAT_BYTES;
      const { keys, values } = this.#cacheOf(layer, head);
      kernels.storeFloatKeysValues(k, v, tokens, qkvWidth, headDim, keys, values, start);
    }
  }

  #attend(layer: number, start: number, tokens: number): void {
    const { kernels, plan, queryWidth, qkvWidth } = this.#transformer;
    const { scores, scoreStride, scratch } = plan;
    const { heads, kvHeads, headDim } = this.#config;
    const end = start + tokens;
    const scale = headDim ** -0.5;
    for (let head = 0; head < heads; head++) {
      const { keys, values } = this.#cacheOf(layer, Math.floor(head / (heads / kvHeads)));
      const queries = scratch.qkv + head * headDim * FLOAT_BYTES;
      const attended = scratch.attended + head * headDim * FLOAT_BYTES;
      kernels.attentionScores(queries, qkvWidth, tokens, headDim, keys, end, scale, scores, scoreStride);
      this.#softmax(start, tokens);
      kernels.attentionMix(scores, scoreStride, tokens, values, end, headDim, attended, queryWidth, 0);
    }
  }

  /**
   * Scores → weights: each row over all tokens that it sees, which is all of them, or those before the end of its
   * block.
   */
  #softmax(start: number, tokens: number): void {
    const { kernels, plan } = this.#transformer;
    const end = start + tokens;
    const step = this.#config.diffusion.blockSize || tokens;
    for (let first = 0; first < tokens; first += step) {
      const rows = Math.min(step, tokens - first);
      const scores = plan.scores + first * plan.scoreStride * FLOAT_BYTES;
      kernels.softmaxRows(scores, rows, plan.scoreStride, start + first + rows, end);
    }
  }

  #cacheOf(layer: number, kvHead: number): { keys: Pointer; values: Pointer } {
    const { cache, cacheLayers, cacheHeadBytes } = this.#transformer.plan;
    const keys = cache + ((layer % cacheLayers) * this.#config.kvHeads + kvHead) * cacheHeadBytes;
    return { keys, values: keys + cacheHeadBytes / 2 };
  }
}
