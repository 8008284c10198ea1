/** One denoising step of a request as the batch scheduler takes it: what is missing of both contexts, then the canvas behind them. */

import type { PrefillChunk } from '../../denoiser/three-stream/denoiser.ts';
import type { KvCache } from '../../denoiser/three-stream/kv-cache.ts';
import { CHUNK_TOKENS } from '../../denoiser/three-stream/memory.ts';
import type { Predictions } from '../../denoiser/transformer/predictions.ts';
import type { Canvas } from '../../diffusion/canvas.ts';
import type { Ticket } from '../admission-queue.ts';
import type { Prompt } from '../prompt.ts';
import type { UsageMeter } from '../usage-meter.ts';
import type { PassPart, PassShare, Step } from './batch-scheduler.ts';
import type { PrefixCache } from './prefix-cache.ts';

export interface PrefillParts {
  readonly prefixes: PrefixCache;
  readonly suffixes: PrefixCache;
  readonly prompt: Prompt;
  /** Tokens of the prefix stream: those of the prompt and what has been committed. */
  readonly stream: readonly number[];
  readonly ticket: Ticket;
  readonly meter: UsageMeter;
}

/** Computes what both contexts lack. */
export class PrefillStep implements Step {
  readonly #parts: PrefillParts;
  #isComplete = false;

  constructor(parts: PrefillParts) {
    this.#parts = parts;
  }

  prepare(rows: number): PassPart | undefined {
    const { reads } = this.claim(rows);
    return this.#isComplete || reads.length > 0 ? { reads } : undefined;
  }

  finish(_predictions: Predictions | undefined, { ms, readMs }: PassShare): boolean {
    this.#parts.meter.spend(ms, readMs);
    return this.#isComplete;
  }

  /** The contexts, what a pass of so many rows can read into them, and the rows that are then left. */
  protected claim(rows: number) {
    const { prefixes, suffixes, prompt, stream, ticket, meter } = this.#parts;
    const reads: PrefillChunk[] = [];
    let left = rows;
    const read = (context: KvCache, tokens: readonly number[]): boolean => {
      const missing = tokens.slice(context.length);
      const ids = missing.slice(0, Math.min(CHUNK_TOKENS, left));
      if (ids.length > 0) reads.push({ context, ids });
      left -= ids.length;
      return ids.length === missing.length;
    };
    const prefix = prefixes.claim(stream, prompt.prefix.length, ticket);
    const hasSuffix = prompt.suffix.length > 0;
    const suffix = hasSuffix ? suffixes.claim(prompt.suffix, prompt.suffix.length, ticket) : undefined;
    meter.noteCached(prefix.length + (suffix?.length ?? 0));
    const isPrefixRead = read(prefix, stream);
    const isSuffixRead = suffix === undefined || read(suffix, prompt.suffix);
    this.#isComplete = isPrefixRead && isSuffixRead;
    return { prefix, suffix, reads, left, isComplete: this.#isComplete };
  }
}

export interface DenoisingParts extends PrefillParts {
  readonly canvas: Canvas;
  /** See SamplerSettings. */
  readonly freezeAfter: number;
  /**
   * Called when the keys and values of frozen slots are lost, because the request was taken for dead meanwhile: has to bring the canvas
   * back to where it started, so that it comes about again as it did.
   */
  restart(): void;
  /** Called with a row for each of the slots. */
  use(predictions: Predictions, slots: readonly number[]): void;
}

/** Completes the contexts, the last of what is missing in the same pass as the canvas, and hands over what is predicted. */
export class DenoisingStep extends PrefillStep {
  readonly #parts: DenoisingParts;
  #slots: readonly number[] = [];

  constructor(parts: DenoisingParts) {
    super(parts);
    this.#parts = parts;
  }

  override prepare(rows: number): PassPart | undefined {
    const { canvas, freezeAfter } = this.#parts;
    const { prefix, suffix, reads, left, isComplete } = this.claim(rows);
    const readsAlone = reads.length > 0 ? { reads } : undefined;
    if (!isComplete) return readsAlone;
    const isHeld =
      reads.every(({ context }) => context !== prefix) && prefix.cachedCanvasSlots(canvas) >= canvas.tokens.length;
    if (!isHeld && canvas.unfrozen(freezeAfter).length < canvas.tokens.length) this.#parts.restart();
    this.#slots = canvas.unfrozen(freezeAfter);
    if (this.#slots.length > left) return readsAlone;
    this.#parts.meter.start();
    const view = { prefix, suffix, ids: canvas.tokens, width: canvas.slots, slots: this.#slots, canvas };
    return { reads, view };
  }

  override finish(predictions: Predictions | undefined, share: PassShare): boolean {
    super.finish(predictions, share);
    if (predictions === undefined) return false;
    this.#parts.meter.measure(() => this.#parts.use(predictions, this.#slots));
    return true;
  }
}
