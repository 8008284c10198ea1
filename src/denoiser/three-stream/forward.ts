/**
 * One forward pass over the kernels: chunks of context streams and canvases, of one request or of several, whose rows
 * go through the linear layers together. Activations are quantized row by row, so that no row depends on the rows it is
 * computed with. Queries, keys and values are quantized as well (assembly/layout.ts).
 */

import { FLOAT_BYTES, rowOf } from '../transformer/arena.ts';
import type { Pointer } from '../transformer/kernel-exports.ts';
import type { LayerPointers } from '../transformer/pointers.ts';
import type { Transformer } from '../transformer/transformer.ts';
import type { KvCache } from './kv-cache.ts';
import type { ThreeStreamPlan } from './memory.ts';
import { contextPosition, rowPosition, rowPositionBeforeSuffix, type SuffixOrder } from './positions.ts';

/**
 * Receives the residual stream (rows, hidden) after each layer; for comparisons with a reference. The view is
 * short-lived.
 */
export type LayerTrace = (layer: number, hidden: Float32Array) => void;

/** Tokens that a pass appends to a context. */
export interface ContextRows {
  readonly firstRow: number;
  readonly context: KvCache;
  readonly ids: ArrayLike<number>;
}

/** Rows of a canvas that a pass computes. */
export interface CanvasRows {
  readonly firstRow: number;
  readonly prefix: KvCache;
  readonly suffix: KvCache | undefined;
  /** Tokens of the rows that exist; the others have been dropped and are not attended to. */
  readonly ids: ArrayLike<number>;
  /** Slots that the canvas was opened with. */
  readonly width: number;
  /** The rows to compute, ascending. The others keep their keys and values after the prefix. */
  readonly slots: readonly number[];
  /** For rows that each see only those before them: the rows of the same run that are in the prefix already. */
  readonly rowsBefore: number | undefined;
}

export class ForwardPass {
  readonly #transformer: Transformer<ThreeStreamPlan>;
  readonly #headsOfGroup: number;
  readonly #suffixOrder: SuffixOrder;
  readonly #blockBytes: number;

  constructor(transformer: Transformer<ThreeStreamPlan>, suffixOrder: SuffixOrder) {
    this.#transformer = transformer;
    this.#headsOfGroup = transformer.shape.heads / transformer.shape.kvHeads;
    this.#suffixOrder = suffixOrder;
    this.#blockBytes = transformer.kernels.blockBytes(transformer.shape.headDim);
  }

  /**
   * Computes all rows of a pass together, layer by layer; only attention is computed separately for each view. The
   * tokens of `reads` are appended to their contexts, and canvases see them. Afterwards the hidden states of canvases
   * are in `scratch.hidden`, each from `firstRow` on; those of reads only if `whole`, because only the head and a trace
   * need them.
   */
  run(canvases: readonly CanvasRows[], reads: readonly ContextRows[], whole: boolean, trace?: LayerTrace): void {
    const canvasRows = canvases.reduce((sum, { slots }) => sum + slots.length, 0);
    const rows = reads.reduce((sum, { ids }) => sum + ids.length, canvasRows);
    for (const { context, ids } of reads) context.append(ids);
    for (const canvas of canvases) this.#placeCanvas(canvas);
    for (const read of reads) this.#placeRead(read);
    const { layers } = this.#transformer.plan;
    this.#transformer.embed(rows);
    for (const [index, layer] of layers.entries()) {
      this.#transformer.project(layer, rows);
      for (const read of reads) this.#storeRead(read, layer, index);
      const isLast = index === layers.length - 1;
      // A context needs only keys and values of its last layer.
      const left = isLast && !whole ? canvasRows : rows;
      if (left === 0) break;
      if (left === rows) for (const read of reads) this.#attendCausally(read, layer, index);
      for (const canvas of canvases) {
        this.#storeCanvas(canvas, layer, index);
        this.#attendAll(canvas, layer, index);
      }
      this.#transformer.finish(layer, left);
      trace?.(index, this.#transformer.hiddenRows(canvases[0]?.slots.length ?? reads[0]!.ids.length));
    }
  }

  /** Ids and positions of a canvas: its keys and values follow those of the prefix, seen through the same rotation. */
  #placeCanvas({ prefix, suffix, ids, width, slots, firstRow, rowsBefore }: CanvasRows): void {
    const transformer = this.#transformer;
    const { scratch } = transformer.plan;
    const rows = slots.length;
    transformer.writeInts(scratch.ids, firstRow, rows, (row) => ids[slots[row]!]!);
    transformer.writeInts(scratch.positions, firstRow, rows, (row) => rowPosition(prefix.length, slots[row]!));
    if (suffix) {
      const slotOf = (row: number) => (rowsBefore === undefined ? slots[row]! : (rowsBefore + row) % width);
      const position = (row: number) => rowPositionBeforeSuffix(suffix, slotOf(row), width, this.#suffixOrder);
      transformer.writeInts(scratch.suffixPositions, firstRow, rows, position);
    }
  }

  #placeRead({ context, ids, firstRow }: ContextRows): void {
    const transformer = this.#transformer;
    const { scratch } = transformer.plan;
    const start = context.length - ids.length;
    const position = (row: number) => contextPosition(context.kind, start + row, this.#suffixOrder);
    transformer.writeInts(scratch.ids, firstRow, ids.length, (row) => ids[row]!);
    transformer.writeInts(scratch.positions, firstRow, ids.length, position);
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
    const { kernels, plan, shape, queryWidth, keyWidth, qkvWidth } = this.#transformer;
    const { kvHeads, headDim, normEps } = shape;
    const positions = rowOf(plan.scratch.positions, firstRow, 1);
    for (let head = 0; head < kvHeads; head++) {
      const keys = rowOf(plan.scratch.qkv, firstRow, qkvWidth) + (queryWidth + head * headDim) * FLOAT_BYTES;
      kernels.storeKeysValues(
        keys,
        keys + keyWidth * FLOAT_BYTES,
        tokens,
        qkvWidth,
        headDim,
        layer.kNorm,
        normEps,
        positions,
        plan.rotaryTable,
        this.#placeOf(index, head),
        context.table,
        offset,
      );
    }
  }

  /** Each token sees itself and what was before it; the chunk's own keys are stored already. */
  #attendCausally({ context, ids, firstRow }: ContextRows, layer: LayerPointers, index: number): void {
    const { queries, positions } = this.#transformer.plan.scratch;
    const count = context.length - ids.length + 1;
    for (let head = 0; head < this.#transformer.shape.kvHeads; head++) {
      this.#quantizeQueries(layer, head, firstRow, ids.length, positions, queries);
      this.#attend(index, head, firstRow, ids.length, context, count, 1, undefined);
    }
  }

  /** Each slot sees prefix and canvas through one rotation of its query, the suffix through another. */
  #attendAll(canvas: CanvasRows, layer: LayerPointers, index: number): void {
    const { prefix, suffix, ids, slots, firstRow, rowsBefore } = canvas;
    const { queries, suffixQueries, positions, suffixPositions } = this.#transformer.plan.scratch;
    const isRun = rowsBefore !== undefined;
    const count = prefix.length + (isRun ? 1 : ids.length);
    for (let head = 0; head < this.#transformer.shape.kvHeads; head++) {
      this.#quantizeQueries(layer, head, firstRow, slots.length, positions, queries);
      if (suffix) this.#quantizeQueries(layer, head, firstRow, slots.length, suffixPositions, suffixQueries);
      this.#attend(index, head, firstRow, slots.length, prefix, count, isRun ? 1 : 0, suffix);
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
    const { kernels, plan, shape, qkvWidth } = this.#transformer;
    const { headDim, normEps } = shape;
    const heads = this.#headsOfGroup;
    kernels.quantizeQueries(
      rowOf(plan.scratch.qkv, firstRow, qkvWidth) + kvHead * heads * headDim * FLOAT_BYTES,
      rows,
      qkvWidth,
      heads,
      headDim,
      layer.qNorm,
      normEps,
      rowOf(positions, firstRow, 1),
      plan.rotaryTable,
      Math.LOG2E * headDim ** -0.5,
      queries,
    );
  }

  /** Where a page has the block of a key/value head. */
  #placeOf(layer: number, kvHead: number): number {
    return (layer * this.#transformer.shape.kvHeads + kvHead) * this.#blockBytes;
  }

  /** Attention of the heads over one key/value head → their part of `scratch.attended`. */
  #attend(
    layer: number,
    kvHead: number,
    firstRow: number,
    rows: number,
    context: KvCache,
    count: number,
    countStep: 0 | 1,
    suffix: KvCache | undefined,
  ): void {
    const { kernels, plan, shape, queryWidth } = this.#transformer;
    const { queries, suffixQueries, attended, scores } = plan.scratch;
    const { headDim } = shape;
    const heads = this.#headsOfGroup;
    const out = rowOf(attended, firstRow, queryWidth) + kvHead * heads * headDim * FLOAT_BYTES;
    kernels.attend(
      queries,
      rows,
      heads,
      headDim,
      this.#placeOf(layer, kvHead),
      context.table,
      count,
      countStep,
      suffixQueries,
      suffix?.table ?? 0,
      suffix?.length ?? 0,
      out,
      queryWidth,
      scores,
    );
  }
}
