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
  protected readonly stream: readonly number[];
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
    this.stream = isShifted ? stream.slice(0, -1) : stream;
  }

  get unread(): number {
    const { prefix, suffix } = this.#generation.prompt;
    this.#unread ??= this.#contexts.missing({ prefix: this.stream.slice(0, prefix.length), suffix });
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
   * @param exactLength of the stream: later tokens are rows of former canvases
   */
  protected claim(rows: number, slots = 0, exactLength = Number.POSITIVE_INFINITY) {
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
    const { stream } = this;
    const promptLength = Math.min(prompt.prefix.length, stream.length);
    const prefix = prefixes.claim({ tokens: stream, promptLength, owner, slots, exactLength });
    prefix.adoptRows(stream.slice(prefix.length));
    const suffix =
      suffixTokens.length > 0
        ? suffixes.claim({ tokens: suffixTokens, promptLength: suffixTokens.length, owner })
        : undefined;
    meter.noteCached(prefix.length + (suffix?.length ?? 0));
    const isPrefixRead = read(prefix, stream.slice(0, exactLength));
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
    const isExtended = reads.some(({ context }) => context === prefix);
    const isCached = !isExtended && prefix.cachedCanvasSlots(canvas) >= ids.length;
    this.#isLost = this.#rows.length < ids.length && !isCached;
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

/**
 * A step on a canvas of one slot of a model that keeps rows (`keepsRows`). One row a token: the row of the last known
 * token, and after it those of a guess. Rows of tokens before it are computed again only where they are lost.
 */
export class RunStep extends PrefillStep {
  readonly #generation: Generation;
  readonly #before: number;
  readonly #width: number;
  readonly #guess: readonly number[];
  /** Rows before the one of the canvas. */
  #lost = 0;
  /** What there was room for of the guess; undefined where there was not even room for the canvas. */
  #draft: readonly number[] | undefined;
  #evaluation: Evaluation | undefined;
  #evaluatedDraft: EvaluatedDraft | undefined;

  /**
   * @param guess tokens that may follow the slot
   * @param width of the canvases that the rows are part of, to the suffix
   */
  constructor(contexts: Contexts, generation: Generation, canvas: Canvas, guess: readonly number[], width: number) {
    super(contexts, generation, true);
    this.#generation = generation;
    this.#width = width;
    this.#before = canvas.rows[0]!;
    this.#guess = guess;
  }

  get evaluation(): Evaluation | undefined {
    return this.#evaluation;
  }

  get evaluatedDraft(): EvaluatedDraft | undefined {
    return this.#evaluatedDraft;
  }

  override prepare(rows: number): PassPart | undefined {
    const { prompt, meter } = this.#generation;
    // The last token of the prompt is the first row.
    const exactLength = Math.max(0, prompt.prefix.length - 1);
    const { prefix, suffix, reads, left, isComplete } = this.claim(rows, 1 + this.#guess.length, exactLength);
    const readsAlone = reads.length > 0 ? { reads } : undefined;
    this.#draft = undefined;
    if (!isComplete || left === 0) return readsAlone;

    const start = prefix.length + (reads.find(({ context }) => context === prefix)?.ids.length ?? 0);
    const most = Math.min(left, PREFILL_CHUNK_TOKENS, prefix.capacity - start);
    const known = [...this.stream.slice(start), this.#before];
    this.#lost = known.length - 1;
    if (known.length <= most) {
      meter.start();
      this.#draft = this.#guess.slice(0, most - known.length);
    }
    const ids = [...known, ...(this.#draft ?? [])].slice(0, most);
    return { reads, view: { prefix, suffix, ids, width: this.#width, rowsBefore: start - exactLength } };
  }

  override finish(predictions: PassPredictions | undefined, share: PassShare): boolean {
    super.finish(predictions, share);
    if (predictions === undefined || this.#draft === undefined) return false;
    const kept = predictions.keep();
    this.#evaluation = { predictions: predictionsOfRow(kept, this.#lost), slots: [0] };
    if (this.#draft.length > 0) {
      this.#evaluatedDraft = new EvaluatedDraft(this.#generation.written.length, this.#draft, kept, this.#lost);
    }
    return true;
  }
}
