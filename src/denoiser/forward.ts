/**
 * One forward pass over the kernels: a chunk of a context stream, or a canvas. Qwen3's layer; activations are quantized
 * before every linear layer, keys and values stay float32.
 */

import type { DenoiserConfig } from './config.ts';
import type { ContextStream } from './context.ts';
import type { Kernels, Pointer } from './kernels.ts';
import type { LayerPointers, MemoryPlan } from './memory.ts';

const FLOAT_BYTES = 4;

/** Sees the residual stream (rows, hidden) behind each layer; for comparisons with a reference. The view is short-lived. */
export type LayerTrace = (layer: number, hidden: Float32Array) => void;

/**
 * Rows are computed in fours, a single one too: the kernels sum a lone row of attention in another order, and keys would then
 * depend, in their last bits, on how tokens came in. Padding rows are computed and not used.
 */
export function paddedRows(rows: number): number {
  return Math.ceil(rows / 4) * 4;
}

export class ForwardPass {
  readonly #config: DenoiserConfig;
  readonly #kernels: Kernels;
  readonly #plan: MemoryPlan;
  readonly #memory: WebAssembly.Memory;
  readonly #queryWidth: number;
  readonly #keyWidth: number;
  readonly #qkvWidth: number;

  constructor(config: DenoiserConfig, kernels: Kernels, plan: MemoryPlan, memory: WebAssembly.Memory) {
    this.#config = config;
    this.#kernels = kernels;
    this.#plan = plan;
    this.#memory = memory;
    this.#queryWidth = config.heads * config.headDim;
    this.#keyWidth = config.kvHeads * config.headDim;
    this.#qkvWidth = this.#queryWidth + 2 * this.#keyWidth;
  }

  /**
   * Stores keys and values of `ids` behind `context`. The hidden states are needed by nobody but the head and a trace, so
   * the last layer ends at its keys and values unless `whole`. `rows` is how many are computed: `paddedRows`, or 1.
   */
  context(context: ContextStream, ids: ArrayLike<number>, rows: number, whole: boolean, trace?: LayerTrace): void {
    const { scratch } = this.#plan;
    const start = context.length;
    const sign = context.kind === 'prefix' ? 1 : -1;
    this.#writeInts(scratch.positions, rows, (row) => sign * (start + Math.min(row, ids.length - 1)));
    this.#embed(ids, rows);
    for (const [index, layer] of this.#plan.layers.entries()) {
      this.#project(layer, rows);
      this.#storeKeysValues(context, index, ids.length, start);
      if (!whole && index === this.#plan.layers.length - 1) break;
      this.#rotateQueries(rows, scratch.positions, scratch.qkv, this.#qkvWidth);
      this.#attendCausally(context, index, ids.length, rows);
      this.#finishLayer(layer, rows);
      trace?.(index, this.#hidden(ids.length));
    }
    context.append(ids);
  }

  /**
   * Hidden states of a canvas of `width` slots, of which the first `ids.length` exist. Its keys and values lie behind those of
   * the prefix for the time of the pass: both are seen through the same rotation of a query.
   */
  canvas(
    prefix: ContextStream,
    suffix: ContextStream | undefined,
    ids: ArrayLike<number>,
    width: number,
    trace?: LayerTrace,
  ): void {
    const { scratch } = this.#plan;
    const rows = paddedRows(ids.length);
    // prefix.length is P + 1 with its marker, suffix.length S + 1.
    this.#writeInts(scratch.positions, rows, (row) => prefix.length + Math.min(row, width - 1));
    if (suffix) {
      this.#writeInts(scratch.suffixPositions, rows, (row) => 1 - suffix.length + Math.min(row, width - 1) - width);
    }
    this.#embed(ids, rows);
    for (const [index, layer] of this.#plan.layers.entries()) {
      this.#project(layer, rows);
      this.#storeKeysValues(prefix, index, ids.length, prefix.length);
      if (suffix) this.#rotateQueries(rows, scratch.suffixPositions, scratch.suffixQueries, this.#queryWidth);
      this.#rotateQueries(rows, scratch.positions, scratch.qkv, this.#qkvWidth);
      this.#attendAll(prefix, suffix, index, ids.length, rows);
      this.#finishLayer(layer, rows);
      trace?.(index, this.#hidden(ids.length));
    }
  }

  #embed(ids: ArrayLike<number>, rows: number): void {
    const { scratch, embedding } = this.#plan;
    const { vocabSize, hiddenSize } = this.#config;
    // Rows of padding repeat the last token: any finite row does.
    this.#writeInts(scratch.ids, rows, (row) => ids[Math.min(row, ids.length - 1)]!);
    this.#kernels.embedRows(scratch.ids, rows, embedding, vocabSize, hiddenSize, scratch.hidden);
  }

  /** hidden → normed queries, normed and rotated keys, values in `scratch.qkv` (rows, q | k | v). */
  #project(layer: LayerPointers, rows: number): void {
    const { scratch, rotaryTable } = this.#plan;
    const { hiddenSize, heads, kvHeads, headDim, normEps } = this.#config;
    const width = this.#qkvWidth;
    const keys = this.#keysOfChunk();
    this.#kernels.rmsNormQuantizeRows(scratch.hidden, layer.inputNorm, rows, hiddenSize, normEps, scratch.activations);
    this.#kernels.matmulU4(scratch.activations, rows, hiddenSize, layer.qkv, width, scratch.qkv, 0);
    this.#kernels.normHeads(scratch.qkv, rows, width, heads, headDim, layer.qNorm, normEps);
    this.#kernels.normHeads(keys, rows, width, kvHeads, headDim, layer.kNorm, normEps);
    this.#kernels.rotateHeads(keys, rows, width, kvHeads, headDim, scratch.positions, rotaryTable, keys, width);
  }

  #rotateQueries(rows: number, positions: Pointer, target: Pointer, targetStride: number): void {
    const { scratch, rotaryTable } = this.#plan;
    const { heads, headDim } = this.#config;
    const width = this.#qkvWidth;
    this.#kernels.rotateHeads(scratch.qkv, rows, width, heads, headDim, positions, rotaryTable, target, targetStride);
  }

  #storeKeysValues(context: ContextStream, layer: number, tokens: number, offset: number): void {
    const { kvHeads, headDim } = this.#config;
    for (let head = 0; head < kvHeads; head++) {
      const keys = this.#keysOfChunk() + head * headDim * FLOAT_BYTES;
      const values = keys + this.#keyWidth * FLOAT_BYTES;
      this.#kernels.storeKeysValues(
        keys,
        values,
        tokens,
        this.#qkvWidth,
        headDim,
        context.keys(layer, head),
        context.values(layer, head),
        offset,
      );
    }
  }

  /** Each token sees itself and what was before it; the chunk's own keys are stored already. */
  #attendCausally(context: ContextStream, layer: number, tokens: number, rows: number): void {
    const { scratch, scoreStride } = this.#plan;
    const seen = context.length + tokens;
    for (let head = 0; head < this.#config.heads; head++) {
      this.#scores(head, scratch.qkv, this.#qkvWidth, rows, context, layer, seen, scratch.scores);
      this.#kernels.softmaxRows(scratch.scores, tokens, scoreStride, context.length + 1, 1, 1, seen);
      this.#mix(head, scratch.scores, rows, context, layer, seen, 0);
    }
  }

  /** Each slot sees suffix, prefix and canvas: one softmax over the scores of all three, side by side without a gap. */
  #attendAll(
    prefix: ContextStream,
    suffix: ContextStream | undefined,
    layer: number,
    slots: number,
    rows: number,
  ): void {
    const { scratch, scoreStride } = this.#plan;
    const seen = prefix.length + slots;
    const suffixSeen = suffix?.length ?? 0;
    const beside = scratch.scores + suffixSeen * FLOAT_BYTES;
    for (let head = 0; head < this.#config.heads; head++) {
      if (suffix) {
        this.#scores(head, scratch.suffixQueries, this.#queryWidth, rows, suffix, layer, suffixSeen, scratch.scores);
      }
      this.#scores(head, scratch.qkv, this.#qkvWidth, rows, prefix, layer, seen, beside);
      this.#kernels.softmaxRows(scratch.scores, slots, scoreStride, suffixSeen + seen, 0, 1, suffixSeen + seen);
      if (suffix) this.#mix(head, scratch.scores, rows, suffix, layer, suffixSeen, 0);
      this.#mix(head, beside, rows, prefix, layer, seen, suffix ? 1 : 0);
    }
  }

  #scores(
    head: number,
    queries: Pointer,
    queryStride: number,
    rows: number,
    context: ContextStream,
    layer: number,
    seen: number,
    scores: Pointer,
  ): void {
    const { headDim } = this.#config;
    this.#kernels.attentionScores(
      queries + head * headDim * FLOAT_BYTES,
      queryStride,
      rows,
      headDim,
      context.keys(layer, this.#kvHead(head)),
      seen,
      headDim ** -0.5,
      scores,
      this.#plan.scoreStride,
    );
  }

  #mix(
    head: number,
    scores: Pointer,
    rows: number,
    context: ContextStream,
    layer: number,
    seen: number,
    accumulate: 0 | 1,
  ): void {
    const { headDim } = this.#config;
    this.#kernels.attentionMix(
      scores,
      this.#plan.scoreStride,
      rows,
      context.values(layer, this.#kvHead(head)),
      seen,
      headDim,
      this.#plan.scratch.mixed + head * headDim * FLOAT_BYTES,
      this.#queryWidth,
      accumulate,
    );
  }

  /** Output projection and MLP, both added to the residual stream. */
  #finishLayer(layer: LayerPointers, rows: number): void {
    const { hidden, activations, mixed, gateUp } = this.#plan.scratch;
    const { hiddenSize, ffnSize, normEps } = this.#config;
    const kernels = this.#kernels;
    kernels.quantizeRows(mixed, rows, this.#queryWidth, activations);
    kernels.matmulU4(activations, rows, this.#queryWidth, layer.output, hiddenSize, hidden, 1);
    kernels.rmsNormQuantizeRows(hidden, layer.postAttentionNorm, rows, hiddenSize, normEps, activations);
    kernels.matmulU4(activations, rows, hiddenSize, layer.gateUp, 2 * ffnSize, gateUp, 0);
    kernels.swigluQuantizeRows(gateUp, rows, ffnSize, activations);
    kernels.matmulU4(activations, rows, ffnSize, layer.down, hiddenSize, hidden, 1);
  }

  #kvHead(head: number): number {
    return Math.floor(head / (this.#config.heads / this.#config.kvHeads));
  }

  #keysOfChunk(): Pointer {
    return this.#plan.scratch.qkv + this.#queryWidth * FLOAT_BYTES;
  }

  #hidden(rows: number): Float32Array {
    return new Float32Array(this.#memory.buffer, this.#plan.scratch.hidden, rows * this.#config.hiddenSize);
  }

  #writeInts(target: Pointer, count: number, value: (row: number) => number): void {
    const ints = new Int32Array(this.#memory.buffer, target, count);
    for (let row = 0; row < count; row++) ints[row] = value(row);
  }
}
