/**
 * The denoiser: a small transformer over three streams. `extend` computes the keys and values of a context once;
 * `evaluate` predicts a canvas between two contexts, any number of times; `pass` does both for several requests at
 * once. All are synchronous: the caller yields in between.
 */

import type { Pointer } from '../transformer/kernel-exports.ts';
import type { KernelBuild, Kernels } from '../transformer/kernels.ts';
import { PREFILL_CHUNK_TOKENS } from '../transformer/memory.ts';
import type { PassPredictions } from '../transformer/predictions.ts';
import { Transformer, type TransformerParts } from '../transformer/transformer.ts';
import { type DenoiserConfig, maxOutputTokens } from './config.ts';
import { type CanvasRows, type ContextRows, ForwardPass, type LayerTrace } from './forward.ts';
import { KvCache, type StreamKind } from './kv-cache.ts';
import { planMemory, type ThreeStreamPlan } from './memory.ts';
import { PagePool } from './page-pool.ts';

/** Tokens to append to a context. */
export interface PrefillChunk {
  readonly context: KvCache;
  /** At most PREFILL_CHUNK_TOKENS. */
  readonly ids: ArrayLike<number>;
}

/** A canvas to predict, between contexts that include what the same pass reads into them. */
export interface View {
  readonly prefix: KvCache;
  readonly suffix: KvCache | undefined;
  /** Tokens of the first rows; the others have been dropped and are not attended to. */
  readonly ids: ArrayLike<number>;
  /** Slots that the canvas was opened with. */
  readonly width: number;
  /**
   * The rows to compute, ascending; all of `ids` when absent. The others are seen with the keys and values that an
   * earlier pass gave them: the last one over this prefix must have been of the same `canvas`.
   */
  readonly slots?: readonly number[];
  /** The identity of the canvas across passes. */
  readonly canvas?: object;
  /**
   * If given, `ids` follow each other, and each row sees those before it. So many rows of the same run are in the
   * prefix already. They may be more than a canvas has slots: to the suffix they are one canvas after the other, of
   * `width` slots. They stay after the prefix until it changes (`KvCache.adoptRows`).
   */
  readonly rowsBefore?: number;
}

/** Rows of a pass that a view takes. */
export function rowsOfView({ ids, slots }: View): number {
  return (slots ?? ids).length;
}

export interface DenoiserParts extends TransformerParts {
  config: DenoiserConfig;
  /** Room for keys and values; at least that of one pair of full contexts. */
  cacheBytes: number;
  /** Room for everything, weights and contexts; what an isolate has unless given. */
  memoryBytes?: number | undefined;
}

export class Denoiser {
  readonly config: DenoiserConfig;
  /** The memory of all contexts. */
  readonly pool: PagePool;
  readonly prefixContexts: readonly KvCache[];
  readonly suffixContexts: readonly KvCache[];
  /** Tokens of output that fit after a full prefix. */
  readonly maxOutputTokens: number;
  /** Rows of one pass: canvases and readings together. */
  readonly maxRows: number;
  readonly #transformer: Transformer<ThreeStreamPlan>;
  readonly #forward: ForwardPass;

  /** Throws SafetensorsError, KernelProbeError, and what the weights stream fails with. */
  static async load({ config, cacheBytes, memoryBytes, ...parts }: DenoiserParts): Promise<Denoiser> {
    const plan = (kernels: Kernels) => planMemory(kernels, config, kernels.heapBase, cacheBytes, memoryBytes);
    return new Denoiser(config, await Transformer.load(config, parts, plan));
  }

  private constructor(config: DenoiserConfig, transformer: Transformer<ThreeStreamPlan>) {
    const { memory, plan } = transformer;
    const pool = new PagePool(memory, plan.pagesStart, plan.pages, plan.pageBytes);
    const contexts = (kind: StreamKind, tables: readonly Pointer[], capacity: number) =>
      tables.map((table) => new KvCache(kind, { memory, pool, table, capacity }));
    this.config = config;
    this.pool = pool;
    this.prefixContexts = contexts('prefix', plan.prefixTables, plan.prefixCapacity);
    this.suffixContexts = contexts('suffix', plan.suffixTables, plan.suffixCapacity);
    this.maxOutputTokens = maxOutputTokens(config);
    this.maxRows = plan.maxRows;
    this.#transformer = transformer;
    this.#forward = new ForwardPass(transformer, config.diffusion.suffixOrder);
  }

  get build(): KernelBuild {
    return this.#transformer.build;
  }

  get memoryBytes(): number {
    return this.#transformer.memoryBytes;
  }

  /**
   * Appends at most PREFILL_CHUNK_TOKENS tokens to a context. The split of tokens into calls changes no bit of the
   * result. Throws RangeError when they do not fit, NoFreePage when other contexts have to be truncated first.
   */
  extend(context: KvCache, ids: ArrayLike<number>, trace?: LayerTrace): void {
    const { readings } = this.#layOut([], [{ context, ids }]);
    this.#transformer.head.beginPass();
    this.#forward.run([], readings, trace !== undefined, trace);
    this.#endPass();
  }

  /** As `extend`, and predicts the token after each of `ids`: the autoregressive model of the same weights. */
  extendAndPredict(context: KvCache, ids: ArrayLike<number>, trace?: LayerTrace): PassPredictions {
    const { readings } = this.#layOut([], [{ context, ids }]);
    this.#transformer.head.beginPass();
    this.#forward.run([], readings, true, trace);
    const [predictions] = this.#transformer.head.predict(0, [ids.length]);
    this.#endPass();
    return predictions!;
  }

  /**
   * One denoising step's view of a canvas of `width` slots: predictions for the first `ids.length` of them; the others
   * have been dropped and are not attended to. Throws RangeError when the canvas does not fit after the prefix.
   */
  evaluate(
    prefix: KvCache,
    suffix: KvCache | undefined,
    ids: ArrayLike<number>,
    width: number,
    trace?: LayerTrace,
  ): PassPredictions {
    return this.pass([{ prefix, suffix, ids, width }], [], trace)[0]!;
  }

  /**
   * Appends the tokens of `reads` and predicts the computed slots of each view, a row for each. The result has the same
   * bits as if each were computed alone. Throws RangeError when something does not fit or a context is written twice,
   * NoFreePage when other contexts have to be truncated first.
   */
  pass(views: readonly View[], reads: readonly PrefillChunk[], trace?: LayerTrace): PassPredictions[] {
    const { canvases, readings } = this.#layOut(views, reads);
    if (canvases.length + readings.length === 0) return [];
    this.#transformer.head.beginPass();
    this.#forward.run(canvases, readings, false, trace);
    for (const { prefix, canvas, ids, rowsBefore } of views) {
      if (rowsBefore !== undefined) prefix.markRows(Array.from(ids));
      else prefix.markCanvasCached(canvas, ids.length);
    }
    const predictions = this.#transformer.head.predict(0, views.map(rowsOfView));
    this.#endPass();
    return predictions;
  }

  /** Forgets what kernels have computed that turn out to be wrong. */
  #endPass(): void {
    if (!this.#transformer.endPass()) return;
    for (const context of [...this.prefixContexts, ...this.suffixContexts]) context.truncate(0);
  }

  /** Assigns rows to every part, canvases first. */
  #layOut(views: readonly View[], reads: readonly PrefillChunk[]): { canvases: CanvasRows[]; readings: ContextRows[] } {
    let rows = 0;
    const firstOf = (count: number) => {
      rows += count;
      return rows - count;
    };
    const readIds = new Map<KvCache, ArrayLike<number>>();
    for (const { context, ids } of reads) {
      if (readIds.has(context)) throw new RangeError('a context is read into twice');
      readIds.set(context, ids);
    }
    const lengthAfter = (context: KvCache) => context.length + (readIds.get(context)?.length ?? 0);
    for (const [context, ids] of readIds) admit(ids.length, PREFILL_CHUNK_TOKENS, lengthAfter(context), context);
    const seen = new Set<KvCache>();
    const canvases = views.map((view) => {
      const { prefix, suffix, ids, width, slots = [...Array(ids.length).keys()], rowsBefore } = view;
      if (seen.has(prefix)) throw new RangeError('two canvases behind one prefix');
      seen.add(prefix);
      const length = lengthAfter(prefix);
      const canvasSlots = Math.min(width, this.config.diffusion.canvasSlots);
      const mostIds = rowsBefore === undefined ? canvasSlots : PREFILL_CHUNK_TOKENS;
      admit(ids.length, mostIds, length + ids.length, prefix);
      if (slots.length < 1) throw new RangeError('no slot to compute');
      if (slots.length < ids.length && (readIds.has(prefix) || prefix.cachedCanvasSlots(view.canvas) < ids.length)) {
        throw new RangeError(`${slots.length} of ${ids.length} slots, but the others were never computed`);
      }
      return { prefix, suffix, ids, width, slots, rowsBefore, firstRow: firstOf(slots.length) };
    });
    const readings = [...readIds].map(([context, ids]) => ({ context, ids, firstRow: firstOf(ids.length) }));
    if (rows > this.maxRows) throw new RangeError(`${rows} rows, a pass has at most ${this.maxRows}`);
    // All of it before anything is computed.
    for (const context of readIds.keys()) context.reserve(lengthAfter(context));
    for (const { prefix, ids } of views) prefix.reserve(lengthAfter(prefix) + ids.length);
    return { canvases, readings };
  }
}

function admit(count: number, limit: number, needed: number, { capacity }: KvCache): void {
  if (count < 1 || count > limit) throw new RangeError(`${count} tokens, expected 1 to ${limit}`);
  if (needed > capacity) throw new RangeError(`${needed} tokens in a context of ${capacity}`);
}
