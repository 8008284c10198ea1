/**
 * A denoiser whose context and canvas are one stream, as public checkpoints have it. With bidirectional attention every step computes the
 * whole stream anew: what a token of the context is depends on the canvas. With block-causal attention whole blocks on the left are read
 * once and kept; the tokens of a last, unfinished block are computed with the canvas that finishes it.
 */

import { CANDIDATES, growMemory } from '../transformer/arena.ts';
import { instantiateKernels, type KernelBuild, type KernelModules, type Kernels } from '../transformer/kernels.ts';
import type { Predictions } from '../transformer/predictions.ts';
import { rotaryTable } from '../transformer/rotary-table.ts';
import { isSingleStream, parseSingleStreamConfig, type SingleStreamConfig } from './config.ts';
import { SingleStreamPass } from './forward.ts';
import { PREFILL_CHUNK_TOKENS, planSingleStream, type SingleStreamPlan } from './memory.ts';
import { loadSingleStreamWeights } from './weights.ts';

export interface SingleStreamParts {
  modules: KernelModules;
  config: SingleStreamConfig;
  /** Opens `model.safetensors`; called once. */
  openWeights: () => Promise<ReadableStream<Uint8Array>>;
}

/** What one step looks at: tokens at consecutive positions. */
export interface Stream {
  /** Tokens on the left of the canvas, at least one. */
  readonly left: readonly number[];
  /** Tokens of the slots that exist. */
  readonly canvas: ArrayLike<number>;
  /** Tokens on the right of the canvas; bidirectional attention only. */
  readonly right: readonly number[];
}

export { isSingleStream, parseSingleStreamConfig, type SingleStreamConfig };

export class SingleStreamDenoiser {
  readonly config: SingleStreamConfig;
  readonly build: KernelBuild;
  readonly memoryBytes: number;
  readonly #kernels: Kernels;
  readonly #plan: SingleStreamPlan;
  readonly #memory: WebAssembly.Memory;
  readonly #pass: SingleStreamPass;
  /** Tokens of whole blocks whose keys and values are cached. */
  #cached: number[] = [];
  /** Counts passes, so that predictions of an earlier one are not read from memory that has changed. */
  #passes = 0;

  /** Throws SafetensorsError, KernelProbeError, and what the weights stream fails with. */
  static async load({ modules, config, openWeights }: SingleStreamParts): Promise<SingleStreamDenoiser> {
    const memory = new WebAssembly.Memory({ initial: 1 });
    const kernels = instantiateKernels(modules, memory);
    const plan = planSingleStream(kernels, config, kernels.heapBase);
    growMemory(memory, plan.bytes);
    new Float32Array(memory.buffer, plan.rotaryTable).set(rotaryTable(config));
    await loadSingleStreamWeights(await openWeights(), config, kernels, plan, memory);
    return new SingleStreamDenoiser(config, kernels, plan, memory);
  }

  private constructor(
    config: SingleStreamConfig,
    kernels: Kernels,
    plan: SingleStreamPlan,
    memory: WebAssembly.Memory,
  ) {
    this.config = config;
    this.build = kernels.build;
    this.memoryBytes = memory.buffer.byteLength;
    this.#kernels = kernels;
    this.#plan = plan;
    this.#memory = memory;
    this.#pass = new SingleStreamPass(config, kernels, plan, memory);
  }

  /** Slots that a canvas behind `leftLength` tokens may have: it ends where its block ends. */
  canvasWidth(leftLength: number): number {
    const { blockSize, canvasSlots } = this.config.diffusion;
    return blockSize === 0 ? canvasSlots : Math.min(canvasSlots, blockSize - (leftLength % blockSize));
  }

  /** Tokens of `left` that need not be computed again. */
  cachedLength(left: readonly number[]): number {
    let length = 0;
    const limit = Math.min(this.#cached.length, this.#readLength(left.length));
    while (length < limit && this.#cached[length] === left[length]) length++;
    const { blockSize } = this.config.diffusion;
    return blockSize === 0 ? 0 : length - (length % blockSize);
  }

  /** Reads some more whole blocks of `left`; false when there are none that are not cached. */
  read(left: readonly number[]): boolean {
    const start = this.cachedLength(left);
    const missing = this.#readLength(left.length) - start;
    if (missing <= 0) return false;
    const { blockSize } = this.config.diffusion;
    const atOnce = Math.max(1, Math.floor(PREFILL_CHUNK_TOKENS / blockSize)) * blockSize;
    const end = start + Math.min(missing, atOnce);
    this.#passes++;
    this.#pass.run(start, left.slice(start, end));
    this.#cached = left.slice(0, end);
    return true;
  }

  /** Predictions for the slots of the canvas, a row each. What can be read of `left` has to be. Throws RangeError. */
  evaluate({ left, canvas, right }: Stream): Predictions {
    const { diffusion, maxPositions } = this.config;
    const length = left.length + canvas.length + right.length;
    if (left.length < 1 || canvas.length < 1) throw new RangeError('a step needs a token on the left and a slot');
    if (length > maxPositions) throw new RangeError(`${length} tokens, there are ${maxPositions} positions`);
    if (right.length > 0 && diffusion.blockSize > 0)
      throw new RangeError('block-causal attention sees nothing on the right');
    const start = this.#readLength(left.length);
    if (this.cachedLength(left) !== start) throw new RangeError('blocks on the left have not been read');
    // What is computed behind the cached blocks overwrites what may have been cached there.
    this.#cached = left.slice(0, start);
    this.#passes++;
    this.#pass.run(start, [...left.slice(start), ...Array.from(canvas), ...right]);
    return this.#predict(left.length - start - (diffusion.isShifted ? 1 : 0), canvas.length);
  }

  /** Tokens of whole blocks that are read before a canvas behind `leftLength` tokens; the row that predicts its first slot is not among them. */
  #readLength(leftLength: number): number {
    const { blockSize, isShifted } = this.config.diffusion;
    if (blockSize === 0) return 0;
    const last = isShifted ? leftLength - 1 : leftLength;
    return last - (last % blockSize);
  }

  #predict(firstRow: number, rows: number): Predictions {
    const { scratch, head } = this.#plan;
    const { hiddenSize, vocabSize } = this.config;
    const { activations, candidateIds, candidateLogits, logSumExp } = scratch;
    this.#normalize(firstRow, rows);
    this.#kernels.headTopK(
      activations,
      rows,
      hiddenSize,
      head,
      vocabSize,
      CANDIDATES,
      candidateIds,
      candidateLogits,
      logSumExp,
      scratch.head,
      scratch.headBytes,
    );
    const pass = this.#passes;
    const { buffer } = this.#memory;
    return {
      rows,
      candidates: CANDIDATES,
      ids: new Int32Array(buffer, candidateIds, rows * CANDIDATES),
      logits: new Float32Array(buffer, candidateLogits, rows * CANDIDATES),
      logSumExp: new Float32Array(buffer, logSumExp, rows),
      allLogits: (row) => {
        if (pass !== this.#passes) throw new Error('predictions of an earlier pass');
        this.#normalize(firstRow + row, 1);
        this.#kernels.matmulU7(activations, 1, hiddenSize, head, vocabSize, scratch.logits, vocabSize);
        return new Float32Array(this.#memory.buffer, scratch.logits, vocabSize);
      },
    };
  }

  /** Rows of the residual stream, normed and quantized for the head. */
  #normalize(firstRow: number, rows: number): void {
    const { scratch, finalNorm } = this.#plan;
    const { hiddenSize, normEps } = this.config;
    const hidden = scratch.hidden + firstRow * hiddenSize * Float32Array.BYTES_PER_ELEMENT;
    this.#kernels.rmsNormQuantizeRows(hidden, finalNorm, rows, hiddenSize, normEps, scratch.activations);
  }
}
