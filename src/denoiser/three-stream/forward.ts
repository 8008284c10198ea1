/**
 * One forward pass over the kernels: chunks of context streams and canvases, of one request or of several, whose rows go
 * through the linear layers together. Qwen3's layer; activations are quantized before every linear layer, row by row, so
 * that no row depends on what it is computed with. Queries, keys and values are quantized as well (assembly/layout.ts).
 */

import type { LayerPointers } from '../transformer/arena.ts';
import type { Pointer } from '../transformer/kernel-exports.ts';
import type { Kernels } from '../transformer/kernels.ts';
import { finishLayer } from '../transformer/layer.ts';
import type { DenoiserConfig } from './config.ts';
import type { KvCache } from './kv-cache.ts';
import type { MemoryPlan } from './memory.ts';

const FLOAT_BYTES = 4;

/** Sees the residual stream (rows, hidden) behind each layer; for comparisons with a reference. The view is short-lived. */
export type LayerTrace = (layer: number, hidden: Float32Array) => void;

/** Tokens that a pass appends to a context. */
export interface ContextRows {
  readonly firstRow: number;
  readonly context: KvCache;
  readonly ids: ArrayLike<number>;
}

/** Slots of a canvas that a pass computes. */
export interface CanvasRows {
  readonly firstRow: number;
  readonly prefix: KvCache;
  readonly suffix: KvCache | undefined;
  /** Tokens of the slots that exist; the others have been dropped and are seen by nobody. */
  readonly ids: ArrayLike<number>;
  /** Slots that the canvas was opened with. */
  readonly width: number;
  /** The slots to compute, ascending. The others keep the keys and values that they have behind the prefix. */
  readonly slots: readonly number[];
}

export class ForwardPass {
  readonly #config: DenoiserConfig;
  readonly #kernels: Kernels;
  readonly #plan: MemoryPlan;
  readonly #memory: WebAssembly.Memory;
  readonly #queryWidth: number;
  readonly #keyWidth: number;
  readonly #qkvWidth: number;
  readonly #headsOfGroup: number;

  constructor(config: DenoiserConfig, kernels: Kernels, plan: MemoryPlan, memory: WebAssembly.Memory) {
    this.#config = config;
    this.#kernels = kernels;
    this.#plan = plan;
    this.#memory = memory;
    this.#queryWidth = config.heads * config.headDim;
    this.#keyWidth = config.kvHeads * config.headDim;
    this.#qkvWidth = this.#queryWidth + 2 * this.#keyWidth;
    this.#headsOfGroup = config.heads / config.kvHeads;
  }

  /**
   * Computes all rows of a pass together, layer by layer; only attention is each one's own. The tokens of `reads` are appended
   * to their contexts, and canvases see them. Hidden states of canvases lie in `scratch.hidden` afterwards, each from
   * `firstRow` on; those of reads only if `whole`, for nobody but the head and a trace needs them.
   */
  run(canvases: readonly CanvasRows[], reads: readonly ContextRows[], whole: boolean, trace?: LayerTrace): void {
    const canvasRows = canvases.reduce((sum, { slots }) => sum + slots.length, 0);
    const rows = reads.reduce((sum, { ids }) => sum + ids.length, canvasRows);
    for (const { context, ids } of reads) context.append(ids);
    for (const canvas of canvases) this.#placeCanvas(canvas);
    for (const read of reads) this.#placeRead(read);
    this.#kernels.embedRows(
      this.#plan.scratch.ids,
      rows,
      this.#plan.embedding,
      this.#config.vocabSize,
      this.#config.hiddenSize,
      this.#plan.scratch.hidden,
    );
    for (const [index, layer] of this.#plan.layers.entries()) {
      this.#project(layer, rows);
      for (const read of reads) this.#storeRead(read, layer, index);
      for (const canvas of canvases) this.#storeCanvas(canvas, layer, index);
      const isLast = index === this.#plan.layers.length - 1;
      // What a context needs of its last layer are keys and values.
      const left = isLast && !whole ? canvasRows : rows;
      if (left === 0) break;
      for (const canvas of canvases) this.#attendAll(canvas, layer, index);
      if (left === rows) for (const read of reads) this.#attendCausally(read, layer, index);
      finishLayer(this.#kernels, this.#config, layer, this.#plan.scratch, left);
      trace?.(index, this.#hidden(canvases[0]?.slots.length ?? reads[0]!.ids.length));
    }
  }

  /** Ids and positions of a canvas: its keys and values lie behind those of the prefix, seen through the same rotation. */
  #placeCanvas({ prefix, suffix, ids, width, slots, firstRow }: CanvasRows): void {
    const { scratch } = this.#plan;
    const rows = slots.length;
    this.#writeInts(scratch.ids, firstRow, rows, (row) => ids[slots[row]!]!);
    // prefix.length is P + 1 with its marker, suffix.length S + 1.
    this.#writeInts(scratch.positions, firstRow, rows, (row) => prefix.length + slots[row]!);
    if (suffix) {
      this.#writeInts(scratch.suffixPositions, firstRow, rows, (row) => 1 - suffix.length + slots[row]! - width);
    }
  }

  #placeRead({ context, ids, firstRow }: ContextRows): void {
    const { scratch } = this.#plan;
    const start = context.length - ids.length;
    const sign = context.kind === 'prefix' ? 1 : -1;
    this.#writeInts(scratch.ids, firstRow, ids.length, (row) => ids[row]!);
    this.#writeInts(scratch.positions, firstRow, ids.length, (row) => sign * (start + row));
  }

  /** hidden → queries, keys and values, neither normed nor rotated, in `scratch.qkv` (rows, q | k | v). */
  #project(layer: LayerPointers, rows: number): void {
    const { hidden, activations, qkv } = this.#plan.scratch;
    const { hiddenSize, normEps } = this.#config;
    this.#kernels.rmsNormQuantizeRows(hidden, layer.inputNorm, rows, hiddenSize, normEps, activations);
    this.#kernels.matmulU4(activations, rows, hiddenSize, layer.qkv, this.#qkvWidth, qkv, 0);
  }

  #storeRead({ context, ids, firstRow }: ContextRows, layer: LayerPointers, index: number): void {
    this.#storeKeysValues(context, layer, index, firstRow, ids.length, context.length - ids.length);
  }

  /** Slots that are not computed keep the keys and values of the pass before. */
  #storeCanvas({ prefix, slots, firstRow }: CanvasRows, layer: LayerPointers, index: number): void {
    for (let from = 0; from < slots.length; ) {
      let to = from + 1;
      while (to < slots.length && slots[to] === slots[from]! + to - from) to++;
      this.#storeKeysValues(prefix, layer, index, firstRow + from, to - from, prefix.length + slots[from]!);
      from = to;
    }
  }

  #storeKeysValues(
    context: KvCache,
    layer: LayerPointers,
    index: number,
    firstRow: number,
    tokens: number,
    offset: number,
  ): void {
    const { scratch, rotaryTable } = this.#plan;
    const { kvHeads, headDim, normEps } = this.#config;
    const positions = rowOf(scratch.positions, firstRow, 1);
    for (let head = 0; head < kvHeads; head++) {
      const keys = rowOf(scratch.qkv, firstRow, this.#qkvWidth) + (this.#queryWidth + head * headDim) * FLOAT_BYTES;
      this.#kernels.storeKeysValues(
        keys,
        keys + this.#keyWidth * FLOAT_BYTES,
        tokens,
        this.#qkvWidth,
        headDim,
        layer.kNorm,
        normEps,
        positions,
        rotaryTable,
        context.cache(index, head),
        offset,
      );
    }
  }

  /** Each token sees itself and what was before it; the chunk's own keys are stored already. */
  #attendCausally({ context, ids, firstRow }: ContextRows, layer: LayerPointers, index: number): void {
    const { queries, positions } = this.#plan.scratch;
    const count = context.length - ids.length + 1;
    for (let head = 0; head < this.#config.kvHeads; head++) {
      this.#quantizeQueries(layer, head, firstRow, ids.length, positions, queries);
      this.#attend(head, firstRow, ids.length, context.cache(index, head), count, 1, 0, 0);
    }
  }

  /** Each slot sees prefix and canvas through one rotation of its query, the suffix through another. */
  #attendAll({ prefix, suffix, ids, slots, firstRow }: CanvasRows, layer: LayerPointers, index: number): void {
    const { queries, suffixQueries, positions, suffixPositions } = this.#plan.scratch;
    const count = prefix.length + ids.length;
    for (let head = 0; head < this.#config.kvHeads; head++) {
      this.#quantizeQueries(layer, head, firstRow, slots.length, positions, queries);
      if (suffix) this.#quantizeQueries(layer, head, firstRow, slots.length, suffixPositions, suffixQueries);
      const suffixCache = suffix?.cache(index, head) ?? 0;
      this.#attend(head, firstRow, slots.length, prefix.cache(index, head), count, 0, suffixCache, suffix?.length ?? 0);
    }
  }

  /** Normed, rotated queries of the heads over one key/value head. */
  #quantizeQueries(
    layer: LayerPointers,
    kvHead: number,
    firstRow: number,
    rows: number,
    positions: Pointer,
    queries: Pointer,
  ): void {
    const { headDim, normEps } = this.#config;
    const heads = this.#headsOfGroup;
    this.#kernels.quantizeQueries(
      rowOf(this.#plan.scratch.qkv, firstRow, this.#qkvWidth) + kvHead * heads * headDim * FLOAT_BYTES,
      rows,
      this.#qkvWidth,
      heads,
      headDim,
      layer.qNorm,
      normEps,
      rowOf(positions, firstRow, 1),
      this.#plan.rotaryTable,
      Math.LOG2E * headDim ** -0.5,
      queries,
    );
  }

  /** Attention of the heads over one key/value head → their part of `scratch.attended`. */
  #attend(
    kvHead: number,
    firstRow: number,
    rows: number,
    cache: Pointer,
    count: number,
    countStep: 0 | 1,
    suffixCache: Pointer,
    suffixCount: number,
  ): void {
    const { queries, suffixQueries, attended, scores } = this.#plan.scratch;
    const { headDim } = this.#config;
    const heads = this.#headsOfGroup;
    const out = rowOf(attended, firstRow, this.#queryWidth) + kvHead * heads * headDim * FLOAT_BYTES;
    this.#kernels.attend(
      queries,
      rows,
      heads,
      headDim,
      cache,
      count,
      countStep,
      suffixQueries,
      suffixCache,
      suffixCount,
      out,
      this.#queryWidth,
      scores,
    );
  }

  #hidden(rows: number): Float32Array {
    return new Float32Array(this.#memory.buffer, this.#plan.scratch.hidden, rows * this.#config.hiddenSize);
  }

  #writeInts(target: Pointer, firstRow: number, count: number, value: (row: number) => number): void {
    const ints = new Int32Array(this.#memory.buffer, rowOf(target, firstRow, 1), count);
    for (let row = 0; row < count; row++) ints[row] = value(row);
  }
}

/** Row `row` of a tensor of 4-byte elements, `width` a row. */
function rowOf(tensor: Pointer, row: number, width: number): Pointer {
  return tensor + row * width * FLOAT_BYTES;
}
