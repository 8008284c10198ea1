/**
 * Diffusion on three streams: prefix, canvas and suffix (denoiser/three-stream). Steps of several requests share
 * passes.
 */

import { type DenoiserConfig, maxOutputTokens, nearWindow } from '../../denoiser/three-stream/config.ts';
import type { Denoiser } from '../../denoiser/three-stream/denoiser.ts';
import { PREFILL_CHUNK_TOKENS } from '../../denoiser/transformer/memory.ts';
import { Canvas } from '../../diffusion/canvas.ts';
import { TokenTable } from '../../diffusion/cursor-token.ts';
import { denoisingStep, type SamplerSettings } from '../../diffusion/sampler.ts';
import type { Tokenizer } from '../../tokenizer/tokenizer.ts';
import type { CanvasModel, Evaluation, Generation } from '../canvas-model.ts';
import type { Prompt, PromptText } from '../prompt.ts';
import { samplerSettings } from '../sampler-settings.ts';
import type { GenerateRequest } from '../types.ts';
import type { BatchScheduler } from './batch-scheduler.ts';
import { canvasWidth } from './canvas-width.ts';
import type { Contexts } from './contexts.ts';
import { DenoisingStep, PrefillStep } from './denoising-step.ts';
import { buildPrompt, nearPrompt } from './prompt.ts';
import { missingTokens, type ReadAhead } from './read-ahead.ts';

/**
 * More than fifty full contexts of nano: a text stays cached while others type as well. The memory plan
 * bounds them by what an isolate has, so that larger models have fewer.
 */
export const DEFAULT_CACHE_BYTES = 72 * 2 ** 20;

/** The rules of an editor tell better whether a line needs such a character a second time. */
const CLOSING = /^[)\]}'"`]/;

/** A near window that saves less than a chunk of reading is not worth its shorter view. */
const LEAST_SAVED_TOKENS = PREFILL_CHUNK_TOKENS;

/** Chosen from a curve of quality against cost (`npm run bench:quality`), see bench/RESULTS.md. */
const DEFAULT_FREEZE_AFTER = 1;

/** What the configuration says of a model; no weights are needed. */
export function threeStreamInfo(config: DenoiserConfig): CanvasModel['info'] {
  const { prefixTokens, suffixTokens, canvasSlots, canvasWidths, revealThreshold, editThreshold, confidence } =
    config.diffusion;
  return {
    contextLength: prefixTokens + suffixTokens + canvasSlots,
    window: { prefixTokens, suffixTokens },
    maxOutputTokens: maxOutputTokens(config),
    diffusion: { canvasWidths, revealThreshold, editThreshold, ...(confidence && { confidence }) },
  };
}

export class ThreeStreamModel implements CanvasModel {
  readonly info: CanvasModel['info'];
  readonly sample = denoisingStep;
  readonly #tokenizer: Tokenizer;
  readonly #denoiser: Denoiser;
  readonly #contexts: Contexts;
  readonly #scheduler: BatchScheduler;
  readonly #reader: ReadAhead;
  /** For a model that completes the token at the cursor. */
  readonly #table: TokenTable | undefined;

  constructor(
    tokenizer: Tokenizer,
    denoiser: Denoiser,
    contexts: Contexts,
    scheduler: BatchScheduler,
    reader: ReadAhead,
  ) {
    this.info = threeStreamInfo(denoiser.config);
    this.#tokenizer = tokenizer;
    this.#denoiser = denoiser;
    this.#table = denoiser.config.diffusion.isShifted ? new TokenTable(tokenizer) : undefined;
    this.#contexts = contexts;
    this.#scheduler = scheduler;
    this.#reader = reader;
  }

  get readAhead(): Promise<void> {
    return this.#reader.finished;
  }

  settings(request: GenerateRequest): SamplerSettings {
    const { revealThreshold, editThreshold, maxEditsPerSlot } = this.#denoiser.config.diffusion;
    const freezeAfter = DEFAULT_FREEZE_AFTER;
    return samplerSettings(request, { revealThreshold, editThreshold, maxEditsPerSlot, freezeAfter });
  }

  /**
   * The near window, if the request allows it and that saves reading; then the whole one is read between requests.
   * Otherwise the whole window.
   */
  prompt(request: GenerateRequest): Prompt {
    const whole = this.wholePrompt(request);
    const near = nearWindow(this.#denoiser.config);
    const { nearFirst = false, maxTokens } = request;
    if (!nearFirst || near === undefined || maxTokens === 0 || maxTokens > near.outputTokens) return whole;
    const prompt = nearPrompt(whole, near, this.#contexts.suffixes.best(whole.suffix).matched);
    const { isShifted } = this.#denoiser.config.diffusion;
    const saved = missingTokens(this.#contexts, whole, isShifted) - missingTokens(this.#contexts, prompt, isShifted);
    if (saved < LEAST_SAVED_TOKENS) return whole;
    this.#reader.want(whole);
    return prompt;
  }

  wholePrompt(text: PromptText): Prompt {
    const { diffusion } = this.#denoiser.config;
    const endsBeforeSuffix = diffusion.endsBeforeSuffix && !(text.ends && CLOSING.test(text.suffix));
    return buildPrompt(text, this.#tokenizer, { ...diffusion, endsBeforeSuffix, table: this.#table });
  }

  /** A row of a shifted canvas is the last token before it. */
  canvas({ prompt, written }: Generation, slots: number): Canvas {
    const before = this.#denoiser.config.diffusion.isShifted ? (written.at(-1) ?? prompt.prefix.at(-1)) : undefined;
    return new Canvas(slots, this.#tokenizer.special, before);
  }

  canvasWidth({ request }: Generation, missing: number): number {
    const { canvasWidths, canvasWidth: byDefault } = this.#denoiser.config.diffusion;
    return request.canvasWidth ?? canvasWidth(canvasWidths, missing, byDefault);
  }

  prefill(generation: Generation): Promise<void> {
    const step = new PrefillStep(this.#contexts, generation, this.#denoiser.config.diffusion.isShifted);
    return this.#scheduler.take(step, generation.ticket, generation.signal);
  }

  async step(generation: Generation, canvas: Canvas): Promise<Evaluation | undefined> {
    const { isShifted } = this.#denoiser.config.diffusion;
    const step = new DenoisingStep(this.#contexts, generation, isShifted, canvas);
    await this.#scheduler.take(step, generation.ticket, generation.signal);
    return step.evaluation;
  }
}
