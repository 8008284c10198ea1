/**
 * The denoiser: a small transformer over three streams. `extend` computes the keys and values of a context once; `evaluate` looks
 * at a canvas between two contexts, any number of times. Both run to their end: whoever calls them yields in between.
 */

import type { DenoiserConfig } from './config.ts';
import { ContextStream, type StreamKind } from './context.ts';
import { ForwardPass, type LayerTrace, paddedRows } from './forward.ts';
import { instantiateKernels, type KernelBuild, type KernelModules, type Kernels } from './kernels.ts';
import { CANDIDATES, CHUNK_TOKENS, growMemory, type MemoryPlan, planMemory } from './memory.ts';
import { rotaryTable } from './rotary-table.ts';
import { loadWeights } from './weights.ts';

/**
 * What the head says about rows of tokens. The arrays are views of WASM memory: the next call on the same denoiser overwrites them.
 */
export interface Predictions {
  readonly rows: number;
  /** Candidates of each row, best first. */
  readonly candidates: number;
  readonly ids: Int32Array; // (rows, candidates)
  readonly logits: Float32Array; // (rows, candidates)
  readonly logSumExp: Float32Array; // (rows), over the whole vocabulary
  /** All logits of one row, (vocabulary). */
  allLogits(row: number): Float32Array;
}

export interface DenoiserParts {
  modules: KernelModules;
  config: DenoiserConfig;
  /** Opens `model.safetensors`; called once. */
  openWeights: () => Promise<ReadableStream<Uint8Array>>;
  /** Room for keys and values; at least one pair of contexts is made. */
  cacheBytes: number;
}

export class Denoiser {
  readonly config: DenoiserConfig;
  readonly prefixContexts: readonly ContextStream[];
  readonly suffixContexts: readonly ContextStream[];
  /** Tokens of output that fit behind a full prefix. */
  readonly maxOutputTokens: number;
  readonly build: KernelBuild;
  readonly memoryBytes: number;
  readonly #kernels: Kernels;
  readonly #plan: MemoryPlan;
  readonly #memory: WebAssembly.Memory;
  readonly #forward: ForwardPass;
  /** Counts passes, so that predictions of an earlier one are not read from memory that has changed. */
  #pass = 0;

  /** Throws SafetensorsError, KernelProbeError, and what the weights stream fails with. */
  static async load({ modules, config, openWeights, cacheBytes }: DenoiserParts): Promise<Denoiser> {
    const memory = new WebAssembly.Memory({ initial: 1 });
    const kernels = instantiateKernels(modules, memory);
    const plan = planMemory(kernels, config, kernels.heapBase, cacheBytes);
    growMemory(memory, plan.bytes);
    new Float32Array(memory.buffer, plan.rotaryTable).set(rotaryTable(config));
    await loadWeights(await openWeights(), config, kernels, plan, memory);
    return new Denoiser(config, kernels, plan, memory);
  }

  private constructor(config: DenoiserConfig, kernels: Kernels, plan: MemoryPlan, memory: WebAssembly.Memory) {
    const contexts = (kind: StreamKind, bases: readonly number[], capacity: number) =>
      bases.map((base) => new ContextStream(kind, base, capacity, config));
    this.config = config;
    this.prefixContexts = contexts('prefix', plan.prefixContexts, plan.prefixCapacity);
    this.suffixContexts = contexts('suffix', plan.suffixContexts, plan.suffixCapacity);
    this.maxOutputTokens = plan.maxOutputTokens;
    this.build = kernels.build;
    this.memoryBytes = memory.buffer.byteLength;
    this.#kernels = kernels;
    this.#plan = plan;
    this.#memory = memory;
    this.#forward = new ForwardPass(config, kernels, plan, memory);
  }

  /**
   * Appends at most CHUNK_TOKENS tokens to a context. How tokens are split into calls does not change a bit of the result.
   * Throws RangeError when they do not fit.
   */
  extend(context: ContextStream, ids: ArrayLike<number>, trace?: LayerTrace): void {
    this.#admit(context, ids, CHUNK_TOKENS);
    this.#pass++;
    this.#forward.context(context, ids, paddedRows(ids.length), trace !== undefined, trace);
  }

  /**
   * As `extend`, and predicts the token behind each of `ids`: the autoregressive model of the same weights. A single token
   * is computed as a single row, the fastest way, whose keys may differ from those of `extend` in their last bits.
   */
  extendAndPredict(context: ContextStream, ids: ArrayLike<number>, trace?: LayerTrace): Predictions {
    this.#admit(context, ids, CHUNK_TOKENS);
    const rows = ids.length === 1 ? 1 : paddedRows(ids.length);
    this.#forward.context(context, ids, rows, true, trace);
    return this.#predict(ids.length, rows);
  }

  /**
   * One denoising step's view of a canvas of `width` slots: predictions for the first `ids.length` of them; the others have been
   * dropped and are seen by nobody. Throws RangeError when the canvas does not fit behind the prefix.
   */
  evaluate(
    prefix: ContextStream,
    suffix: ContextStream | undefined,
    ids: ArrayLike<number>,
    width: number,
    trace?: LayerTrace,
  ): Predictions {
    this.#admit(prefix, ids, Math.min(width, this.config.diffusion.canvasSlots));
    this.#forward.canvas(prefix, suffix, ids, width, trace);
    return this.#predict(ids.length, paddedRows(ids.length));
  }

  /** Makes `target` a copy of the first `length` tokens of `source`, a context of the same kind. */
  copyContext(target: ContextStream, source: ContextStream, length: number): void {
    target.copyFrom(source, length, this.#memory, this.config.layers);
  }

  #admit(context: ContextStream, ids: ArrayLike<number>, limit: number): void {
    if (ids.length < 1 || ids.length > limit) throw new RangeError(`${ids.length} tokens, expected 1 to ${limit}`);
    if (context.length + ids.length > context.capacity) {
      throw new RangeError(`${context.length} + ${ids.length} tokens in a context of ${context.capacity}`);
    }
  }

  #predict(rows: number, padded: number): Predictions {
    const { scratch, finalNorm, embedding } = this.#plan;
    const { hiddenSize, vocabSize, normEps } = this.config;
    const { hidden, activations, candidateIds, candidateLogits, logSumExp, head, headBytes } = scratch;
    this.#kernels.rmsNormQuantizeRows(hidden, finalNorm, padded, hiddenSize, normEps, activations);
    this.#kernels.headTopK(
      activations,
      padded,
      hiddenSize,
      embedding,
      vocabSize,
      CANDIDATES,
      candidateIds,
      candidateLogits,
      logSumExp,
      head,
      headBytes,
    );
    const pass = ++this.#pass;
    const { buffer } = this.#memory;
    return {
      rows,
      candidates: CANDIDATES,
      ids: new Int32Array(buffer, candidateIds, rows * CANDIDATES),
      logits: new Float32Array(buffer, candidateLogits, rows * CANDIDATES),
      logSumExp: new Float32Array(buffer, logSumExp, rows),
      allLogits: (row) => {
        if (pass !== this.#pass) throw new Error('predictions of an earlier pass');
        return this.#allLogits(row);
      },
    };
  }

  /** One row through the head again, all of it: (vocabulary). */
  #allLogits(row: number): Float32Array {
    const { scratch, finalNorm, embedding } = this.#plan;
    const { hiddenSize, vocabSize, normEps } = this.config;
    const hidden = scratch.hidden + row * hiddenSize * Float32Array.BYTES_PER_ELEMENT;
    this.#kernels.rmsNormQuantizeRows(hidden, finalNorm, 1, hiddenSize, normEps, scratch.activations);
    this.#kernels.matmulU7(scratch.activations, 1, hiddenSize, embedding, vocabSize, scratch.logits, vocabSize);
    return new Float32Array(this.#memory.buffer, scratch.logits, vocabSize);
  }
}
