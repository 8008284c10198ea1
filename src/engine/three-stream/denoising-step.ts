/**
 * One step of a three-stream request for the batch scheduler: the missing tokens of both contexts, then the canvas
 * after them. A pass may be computed during the turn of another request, so a step only changes contexts and its own
 * fields: the request reads `evaluation` at its own turn.
 */

import type { PrefillChunk } from '../../denoiser/three-stream/denoiser.ts';
import type { KvCache } from '../../denoiser/three-stream/kv-cache.ts';
import { PREFILL_CHUNK_TOKENS } from '../../denoiser/transformer/memory.ts';
import type { PassPredictions } from '../../denoiser/transformer/predictions.ts';
import type { Canvas } from '../../diffusion/canvas.ts';
import type { Evaluation, Generation } from '../canvas-model.ts';
import type { PassPart, PassShare, Step } from './batch-scheduler.ts';
import type { Contexts } from './contexts.ts';

/** Computes the tokens of the prompt and of the generated text that both contexts lack. */
export class PrefillStep implements Step {
  readonly #contexts: Contexts;
  readonly #generation: Generation;
  /** Tokens of the prefix stream. */
  readonly #stream: readonly number[];
  #isComplete = false;
  /** Tokens that the next pass reads. */
  #readTokens = 0;

  /** @param isShifted the last token is a row of the canvas, not of the prefix stream */
  constructor(contexts: Contexts, generation: Generation, isShifted: boolean) {
    this.#contexts = contexts;
    this.#generation = generation;
    const stream = [...generation.prompt.prefix, ...generation.written];
    this.#stream = isShifted ? stream.slice(0, -1) : stream;
  }

  prepare(rows: number): PassPart | undefined {
    const { reads } = this.claim(rows);
    return this.#isComplete || reads.length > 0 ? { reads } : undefined;
  }

  finish(_predictions: PassPredictions | undefined, { ms, readMs }: PassShare): boolean {
    this.#generation.meter.spend(ms, readMs);
    this.#contexts.noteRead(this.#readTokens, readMs);
    return this.#isComplete;
  }

  /**
   * The contexts, the tokens that a pass of this many rows can append to them, and the remaining rows.
   * @param slots of the canvas after the prefix
   */
  protected claim(rows: number, slots = 0) {
    const { prefixes, suffixes } = this.#contexts;
    const { prompt, ticket: owner, meter } = this.#generation;
    const { suffix: suffixTokens } = prompt;
    const reads: PrefillChunk[] = [];
    let left = rows;
    const read = (context: KvCache, tokens: readonly number[]): boolean => {
      const missing = tokens.slice(context.length);
      const ids = missing.slice(0, Math.min(PREFILL_CHUNK_TOKENS, left));
      if (ids.length > 0) reads.push({ context, ids });
      left -= ids.length;
      return ids.length === missing.length;
    };
    const promptLength = Math.min(prompt.prefix.length, this.#stream.length);
    const prefix = prefixes.claim({ tokens: this.#stream, promptLength, owner, slots });
    const suffix =
      suffixTokens.length > 0
        ? suffixes.claim({ tokens: suffixTokens, promptLength: suffixTokens.length, owner })
        : undefined;
    meter.noteCached(prefix.length + (suffix?.length ?? 0));
    const isPrefixRead = read(prefix, this.#stream);
    const isSuffixRead = suffix === undefined || read(suffix, suffixTokens);
    this.#readTokens = rows - left;
    this.#isComplete = isPrefixRead && isSuffixRead;
    return { prefix, suffix, reads, left, isComplete: this.#isComplete };
  }
}

/** Completes the contexts, the last missing tokens in the same pass as the canvas, and keeps its predictions. */
export class DenoisingStep extends PrefillStep {
  readonly #canvas: Canvas;
  readonly #generation: Generation;
  #rows: readonly number[] = [];
  #isLost = false;
  #evaluation: Evaluation | undefined;

  constructor(contexts: Contexts, generation: Generation, isShifted: boolean, canvas: Canvas) {
    super(contexts, generation, isShifted);
    this.#canvas = canvas;
    this.#generation = generation;
  }

  /**
   * The predictions of the step. Undefined when the keys and values of frozen slots are lost, because other requests
   * used the context in the meantime.
   */
  get evaluation(): Evaluation | undefined {
    return this.#evaluation;
  }

  override prepare(rows: number): PassPart | undefined {
    const canvas = this.#canvas;
    const { settings, meter } = this.#generation;
    const { prefix, suffix, reads, left, isComplete } = this.claim(rows, canvas.slots);
    const readsAlone = reads.length > 0 ? { reads } : undefined;
    if (!isComplete) return readsAlone;

    this.#rows = canvas.unfrozen(settings.freezeAfter);
    const ids = canvas.rows;
    const isPrefixRead = reads.some(({ context }) => context === prefix);
    this.#isLost = this.#rows.length < ids.length && (isPrefixRead || prefix.cachedCanvasSlots(canvas) < ids.length);
    if (this.#isLost) return { reads };

    if (this.#rows.length > left) return readsAlone;
    meter.start();
    return { reads, view: { prefix, suffix, ids, width: canvas.slots, slots: this.#rows, canvas } };
  }

  override finish(predictions: PassPredictions | undefined, share: PassShare): boolean {
    super.finish(predictions, share);
    if (predictions !== undefined) this.#evaluation = { predictions: predictions.keep(), slots: this.#rows };
    return this.#isLost || predictions !== undefined;
  }
}
