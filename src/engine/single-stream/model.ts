/**
 * Public diffusion checkpoints, whose context and canvas are one stream (denoiser/single-stream). Requests are computed
 * one at a time: a step computes the whole stream, or at least a block of a large model, so batching gains nothing.
 */

import type { SingleStreamConfig } from '../../denoiser/single-stream/config.ts';
import type { SingleStreamDenoiser } from '../../denoiser/single-stream/denoiser.ts';
import { Canvas } from '../../diffusion/canvas.ts';
import { denoisingStep, type SamplerSettings } from '../../diffusion/sampler.ts';
import { NO_TOKEN, type SpecialTokens, type Tokenizer } from '../../tokenizer/tokenizer.ts';
import type { AdmissionQueue } from '../admission-queue.ts';
import type { CanvasModel, Evaluation, Generation } from '../canvas-model.ts';
import { NotOfThisModel } from '../errors.ts';
import { cutToWindow, type Prompt } from '../prompt.ts';
import { samplerSettings } from '../sampler-settings.ts';
import type { GenerateRequest } from '../types.ts';

/** Requests that are served at a time. */
export const SINGLE_STREAM_CONCURRENCY = 1;

/** These models were not trained on wrong tokens, so nothing is edited unless the request asks for it. */
const EDIT_THRESHOLD = 1;
const MAX_EDITS_PER_SLOT = 2;

/** What follows the end is the end again, and neither side of the cursor is announced. */
export function specialTokensOf({ diffusion }: SingleStreamConfig): SpecialTokens {
  const [eom, endOfText = eom!] = diffusion.endTokenIds;
  return { mask: diffusion.maskTokenId, eom: eom!, endOfText, pad: NO_TOKEN, prefix: NO_TOKEN, suffix: NO_TOKEN };
}

/** What the configuration says of a model; no weights are needed. */
export function singleStreamInfo({ diffusion }: SingleStreamConfig): CanvasModel['info'] {
  const { prefixTokens, suffixTokens, canvasSlots, revealThreshold, maxOutputTokens } = diffusion;
  return {
    contextLength: prefixTokens + suffixTokens + canvasSlots,
    window: { prefixTokens, suffixTokens },
    maxOutputTokens,
    diffusion: { canvasWidths: [canvasSlots], revealThreshold, editThreshold: EDIT_THRESHOLD },
  };
}

export class SingleStreamModel implements CanvasModel {
  readonly info: CanvasModel['info'];
  readonly sample = denoisingStep;
  readonly #tokenizer: Tokenizer;
  readonly #denoiser: SingleStreamDenoiser;
  readonly #admission: AdmissionQueue;

  constructor(tokenizer: Tokenizer, denoiser: SingleStreamDenoiser, admission: AdmissionQueue) {
    this.info = singleStreamInfo(denoiser.config);
    this.#tokenizer = tokenizer;
    this.#denoiser = denoiser;
    this.#admission = admission;
  }

  settings(request: GenerateRequest): SamplerSettings {
    const { revealThreshold, attention, fimTokenIds } = this.#denoiser.config.diffusion;
    const { suffix, freezeAfter = Number.POSITIVE_INFINITY } = request;
    if (suffix !== '' && attention !== 'bidirectional' && fimTokenIds === undefined) {
      throw new NotOfThisModel('suffix', 'sees nothing on the right of the cursor');
    }
    if (freezeAfter !== Number.POSITIVE_INFINITY) {
      throw new NotOfThisModel('freeze_after', 'computes every slot at each step');
    }
    return samplerSettings(request, {
      revealThreshold,
      editThreshold: EDIT_THRESHOLD,
      maxEditsPerSlot: MAX_EDITS_PER_SLOT,
      freezeAfter,
    });
  }

  /** A model that does not see the text on the right gets it on the left, between its own markers. */
  prompt(request: GenerateRequest): Prompt {
    const { attention, fimTokenIds: fim, ...limits } = this.#denoiser.config.diffusion;
    const { endOfText } = this.#tokenizer.special;
    const { before, after, truncatedTokens } = cutToWindow(request, this.#tokenizer, limits);
    // These models have not learned that a text begins with its end.
    const text = before[0] === endOfText ? before.slice(1) : before;
    if (request.suffix === '' || attention === 'bidirectional' || fim === undefined) {
      return { prefix: text.length > 0 ? text : [endOfText], suffix: after, truncatedTokens };
    }
    return { prefix: [fim.prefix, ...text, fim.suffix, ...after, fim.middle], suffix: [], truncatedTokens };
  }

  canvas(_generation: Generation, slots: number): Canvas {
    return new Canvas(slots, this.#tokenizer.special);
  }

  /** By default no wider than needed: every slot has to be filled, and the model may need fewer. */
  canvasWidth({ request, prompt, written }: Generation, missing: number): number {
    const widest = this.#denoiser.canvasWidth(prompt.prefix.length + written.length);
    return Math.min(widest, request.canvasWidth ?? missing);
  }

  prefill(generation: Generation): Promise<void> {
    return this.#read(generation, generation.prompt.prefix);
  }

  async step(generation: Generation, canvas: Canvas): Promise<Evaluation> {
    const { prompt, written, meter } = generation;
    const left = [...prompt.prefix, ...written];
    await this.#read(generation, left);
    return meter.measure(() => {
      meter.start();
      const predictions = this.#denoiser.evaluate({ left, canvas: canvas.tokens, right: prompt.suffix });
      return { predictions: predictions.keep(), slots: [...canvas.tokens.keys()] };
    });
  }

  /** Reads all blocks of `left` that can be kept, a turn for each chunk and one after the last. */
  async #read({ meter, ticket, signal }: Generation, left: readonly number[]): Promise<void> {
    await this.#admission.waitTurn(ticket, signal);
    meter.noteCached(this.#denoiser.cachedLength(left));
    while (meter.measure(() => meter.measurePrefill(() => this.#denoiser.read(left)))) {
      await this.#admission.waitTurn(ticket, signal);
    }
  }
}
