/**
 * A denoiser whose context and canvas are one stream, as public checkpoints have it. With bidirectional attention every
 * step computes the whole stream again, because the states of the context depend on the canvas. With block-causal
 * attention whole blocks on the left are read once and kept; the tokens of a last, unfinished block are computed with
 * the canvas that finishes it.
 */

import type { KernelBuild, Kernels } from '../transformer/kernels.ts';
import { PREFILL_CHUNK_TOKENS } from '../transformer/memory.ts';
import type { PassPredictions } from '../transformer/predictions.ts';
import { Transformer, type TransformerParts } from '../transformer/transformer.ts';
import type { SingleStreamConfig } from './config.ts';
import { SingleStreamPass } from './forward.ts';
import { planSingleStream, type SingleStreamPlan } from './memory.ts';

export interface SingleStreamParts extends TransformerParts {
  config: SingleStreamConfig;
}

/** The input of one step: tokens at consecutive positions. */
export interface Stream {
  /** Tokens on the left of the canvas, at least one. */
  readonly left: readonly number[];
  /** Tokens of the slots that exist. */
  readonly canvas: ArrayLike<number>;
  /** Tokens on the right of the canvas; bidirectional attention only. */
  readonly right: readonly number[];
}

export class SingleStreamDenoiser {
  readonly config: SingleStreamConfig;
  readonly #transformer: Transformer<SingleStreamPlan>;
  readonly #pass: SingleStreamPass;
  /** Tokens of whole blocks whose keys and values are cached. */
  #cached: number[] = [];

  /** Throws SafetensorsError, KernelProbeError, and what the weights stream fails with. */
  static async load({ config, ...parts }: SingleStreamParts): Promise<SingleStreamDenoiser> {
    const plan = (kernels: Kernels) => planSingleStream(kernels, config, kernels.heapBase);
    return new SingleStreamDenoiser(config, await Transformer.load(config, parts, plan));
  }

  private constructor(config: SingleStreamConfig, transformer: Transformer<SingleStreamPlan>) {
    this.config = config;
    this.#transformer = transformer;
    this.#pass = new SingleStreamPass(config, transformer);
  }

  get build(): KernelBuild {
    return this.#transformer.build;
  }

  get memoryBytes(): number {
    return this.#transformer.memoryBytes;
  }

  /** Slots that a canvas after `leftLength` tokens may have: it ends where its block ends. */
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

  /** Reads the next whole blocks of `left`; false when all are cached. */
  read(left: readonly number[]): boolean {
    const start = this.cachedLength(left);
    const missing = this.#readLength(left.length) - start;
    if (missing <= 0) return false;
    const { blockSize } = this.config.diffusion;
    const atOnce = Math.max(1, Math.floor(PREFILL_CHUNK_TOKENS / blockSize)) * blockSize;
    const end = start + Math.min(missing, atOnce);
    this.#transformer.head.beginPass();
    this.#pass.run(start, left.slice(start, end));
    this.#cached = left.slice(0, end);
    this.#endPass();
    return true;
  }

  /**
   * Predictions for the slots of the canvas, a row each. The whole blocks of `left` have to be read before. Throws
   * RangeError.
   */
  evaluate({ left, canvas, right }: Stream): PassPredictions {
    const { diffusion, maxPositions } = this.config;
    const length = left.length + canvas.length + right.length;
    if (left.length < 1 || canvas.length < 1) throw new RangeError('a step needs a token on the left and a slot');
    if (length > maxPositions) throw new RangeError(`${length} tokens, there are ${maxPositions} positions`);
    if (right.length > 0 && diffusion.blockSize > 0)
      throw new RangeError('block-causal attention sees nothing on the right');
    const start = this.#readLength(left.length);
    if (this.cachedLength(left) !== start) throw new RangeError('blocks on the left have not been read');
    // The pass overwrites the keys and values after these blocks.
    this.#cached = left.slice(0, start);
    this.#transformer.head.beginPass();
    this.#pass.run(start, [...left.slice(start), ...Array.from(canvas), ...right]);
    const firstRow = left.length - start - (diffusion.isShifted ? 1 : 0);
    const [predictions] = this.#transformer.head.predict(firstRow, [canvas.length]);
    this.#endPass();
    return predictions!;
  }

  /** Forgets what kernels have computed that turn out to be wrong. */
  #endPass(): void {
    if (this.#transformer.endPass()) this.#cached = [];
  }

  /**
   * Length of the whole blocks that are read before a canvas after `leftLength` tokens. The row that predicts its first
   * slot is not one of them.
   */
  #readLength(leftLength: number): number {
    const { blockSize, isShifted } = this.config.diffusion;
    if (blockSize === 0) return 0;
    const last = isShifted ? leftLength - 1 : leftLength;
    return last - (last % blockSize);
  }
}
