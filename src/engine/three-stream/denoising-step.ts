/**
 * One step of a three-stream request for the batch scheduler: the missing tokens of both contexts, then the canvas
 * after them. A pass may be computed during the turn of another request, so a step only changes contexts and its own
 * fields: the request reads `evaluation` at its own turn.
 */

import type { PrefillChunk } from '../../denoiser/three-stream/denoiser.ts';
import type { KvCache } from '../../denoiser/three-stream/kv-cache.ts';
import { PREFILL_CHUNK_TOKENS } from '../../denoiser/transformer/memory.ts';
import { type PassPredictions, predictionsOfRow } from '../../denoiser/transformer/predictions.ts';
import type { Canvas } from '../../diffusion/canvas.ts';
import type { Evaluation, Generation } from '../canvas-model.ts';
import type { PassPart, PassShare, Step } from './batch-scheduler.ts';
import type { Contexts } from './contexts.ts';
import { EvaluatedDraft } from './draft.ts';

/** Computes the tokens of the prompt and of the generated text that both contexts lack. */
export class PrefillStep implements Step {
  readonly #contexts: Contexts;
  readonly #generation: Generation;
  /** Tokens of the prefix stream. */
  readonly #stream: readonly number[];
  #isComplete = false;
  /** Tokens that the next pass reads. */
  #readTokens = 0;
  /** What is left to read after the next pass; undefined before the first one. */
  #unread: number | undefined;

  /** @param isShifted the last token is a row of the canvas, not of the prefix stream */
  constructor(contexts: Contexts, generation: Generation, isShifted: boolean) {
    this.#contexts = contexts;
    this.#generation = generation;
    const stream = [...generation.prompt.prefix, ...generation.written];
    this.#stream = isShifted ? stream.slice(0, -1) : stream;
  }

  get unread(): number {
    this.#unread ??= this.#contexts.missing({ prefix: this.#stream, suffix: this.#generation.prompt.suffix });
    return this.#unread;
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
    let unread = 0;
    const read = (context: KvCache, tokens: readonly number[]): boolean => {
      const missing = tokens.slice(context.length);
      const ids = missing.slice(0, Math.min(PREFILL_CHUNK_TOKENS, left));
      if (ids.length > 0) reads.push({ context, ids });
      left -= ids.length;
      unread += missing.length - ids.length;
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
    this.#unread = unread;
    this.#isComplete = isPrefixRead && isSuffixRead;
    return { prefix, suffix, reads, left, isComplete: this.#isComplete };
  }
}

/** Completes the contexts, the last missing tokens in the same pass as the canvas, and keeps its predictions. */
export class DenoisingStep extends PrefillStep {
  readonly #canvas: Canvas;
  readonly #generation: Generation;
  readonly #guess: readonly number[];
  #rows: readonly number[] = [];
  /** What there was room for of the guess. */
  #draft: readonly number[] = [];
  #isLost = false;
  #evaluation: Evaluation | undefined;
  #evaluatedDraft: EvaluatedDraft | undefined;

  /** @param guess tokens that may follow a canvas of one slot */
  constructor(
    contexts: Contexts,
    generation: Generation,
    isShifted: boolean,
    canvas: Canvas,
    guess: readonly number[] = [],
  ) {
    super(contexts, generation, isShifted);
    this.#canvas = canvas;
    this.#generation = generation;
    this.#guess = guess;
  }

  /**
   * The predictions of the step. Undefined when the keys and values of frozen slots are lost, because other requests
   * used the context in the meantime.
   */
  get evaluation(): Evaluation | undefined {
    return this.#evaluation;
  }

  /** Of the part of the guess that there was room for, if any. */
  get evaluatedDraft(): EvaluatedDraft | undefined {
    return this.#evaluatedDraft;
  }

  override prepare(rows: number): PassPart | undefined {
    const canvas = this.#canvas;
    const { settings, meter } = this.#generation;
    const guess = this.#guess;
    const { prefix, suffix, reads, left, isComplete } = this.claim(rows, canvas.slots + guess.length);
    const readsAlone = reads.length > 0 ? { reads } : undefined;
    if (!isComplete) return readsAlone;

    this.#rows = canvas.unfrozen(settings.freezeAfter);
    const ids = canvas.rows;
    const prefixTokens = reads.find(({ context }) => context === prefix)?.ids.length ?? 0;
    const isCached = prefixTokens === 0 && prefix.cachedCanvasSlots(canvas) >= ids.length;
    this.#isLost = this.#rows.length < ids.length && !isCached;
    if (this.#isLost) return { reads };

    if (this.#rows.length > left) return readsAlone;
    meter.start();
    const room = Math.min(
      Math.floor((left - this.#rows.length) / 2),
      PREFILL_CHUNK_TOKENS - prefixTokens,
      prefix.capacity - prefix.length - prefixTokens - canvas.slots,
    );
    this.#draft = guess.slice(0, Math.max(0, room));
    const { slots: width } = canvas;
    return { reads, view: { prefix, suffix, ids, width, slots: this.#rows, canvas, draft: this.#draft } };
  }

  override finish(predictions: PassPredictions | undefined, share: PassShare): boolean {
    super.finish(predictions, share);
    if (predictions !== undefined) {
      const kept = predictions.keep();
      const hasDraft = this.#draft.length > 0;
      this.#evaluation = { predictions: hasDraft ? predictionsOfRow(kept, 0) : kept, slots: this.#rows };
      if (hasDraft) this.#evaluatedDraft = new EvaluatedDraft(this.#generation.written.length, this.#draft, kept);
    }
    return this.#isLost || predictions !== undefined;
  }
}
