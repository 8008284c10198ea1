/**
 * Diffusion on three streams: prefix, canvas and suffix (denoiser/three-stream). Steps of several requests share
 * passes.
 */

import { type DenoiserConfig, maxOutputTokens } from '../../denoiser/three-stream/config.ts';
import type { Denoiser } from '../../denoiser/three-stream/denoiser.ts';
import { Canvas } from '../../diffusion/canvas.ts';
import { TokenTable } from '../../diffusion/cursor-token.ts';
import { denoisingStep, type SamplerSettings } from '../../diffusion/sampler.ts';
import type { Tokenizer } from '../../tokenizer/tokenizer.ts';
import type { Ticket } from '../admission-queue.ts';
import type { CanvasModel, Evaluation, Generation } from '../canvas-model.ts';
import type { Prompt, PromptText } from '../prompt.ts';
import { samplerSettings } from '../sampler-settings.ts';
import type { GenerateRequest } from '../types.ts';
import type { BatchScheduler } from './batch-scheduler.ts';
import { canvasWidth } from './canvas-width.ts';
import type { ContextWindows } from './context-windows.ts';
import { type Contexts, SHORT_OUTPUT } from './contexts.ts';
import { DenoisingStep, PrefillStep, RunStep } from './denoising-step.ts';
import { type EvaluatedDraft, guessAfter } from './draft.ts';
import { buildPrompt } from './prompt.ts';

/**
 * More than fifty full contexts of nano: a text stays cached while others type as well. The memory plan
 * bounds them by what an isolate has, so that larger models have fewer.
 */
export const DEFAULT_CACHE_BYTES = 72 * 2 ** 20;

/** The rules of an editor tell better whether a line needs such a character a second time. */
const CLOSING = /^[)\]}'"`]/;

/** With the canvas that it follows, a draft of so many tokens is four rows. */
const DEFAULT_DRAFT_TOKENS = 3;

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
  readonly #windows: ContextWindows;
  readonly #draftTokens: number;
  readonly #drafts = new WeakMap<Generation, EvaluatedDraft>();
  /** For a model that completes the token at the cursor. */
  readonly #table: TokenTable | undefined;

  constructor(
    tokenizer: Tokenizer,
    denoiser: Denoiser,
    contexts: Contexts,
    scheduler: BatchScheduler,
    windows: ContextWindows,
    draftTokens = DEFAULT_DRAFT_TOKENS,
  ) {
    this.info = threeStreamInfo(denoiser.config);
    this.#tokenizer = tokenizer;
    this.#denoiser = denoiser;
    this.#table = denoiser.config.diffusion.isShifted ? new TokenTable(tokenizer) : undefined;
    this.#contexts = contexts;
    this.#scheduler = scheduler;
    this.#windows = windows;
    this.#draftTokens = draftTokens;
  }

  get readAhead(): Promise<void> {
    return this.#windows.readAhead;
  }

  settings(request: GenerateRequest): SamplerSettings {
    const { revealThreshold, editThreshold, maxEditsPerSlot } = this.#denoiser.config.diffusion;
    const freezeAfter = DEFAULT_FREEZE_AFTER;
    return samplerSettings(request, { revealThreshold, editThreshold, maxEditsPerSlot, freezeAfter });
  }

  window({ nearFirst = false, maxTokens, keepAlive }: GenerateRequest, whole: Prompt, ticket?: Ticket): Prompt {
    const isEditor = nearFirst && maxTokens > 0 && maxTokens <= SHORT_OUTPUT;
    return isEditor ? this.#windows.choose(whole, ticket, keepAlive) : whole;
  }

  prompt(text: PromptText): Prompt {
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
    const { isShifted, keepsRows, canvasWidth: byDefault } = this.#denoiser.config.diffusion;
    // Only where every canvas of the completion has one slot: then its rows can be computed again if they are lost.
    if (keepsRows && (generation.request.canvasWidth ?? byDefault) === 1) return this.#stepOfRun(generation, canvas);
    const step = new DenoisingStep(this.#contexts, generation, isShifted, canvas);
    await this.#scheduler.take(step, generation.ticket, generation.signal);
    return step.evaluation;
  }

  async #stepOfRun(generation: Generation, canvas: Canvas): Promise<Evaluation | undefined> {
    const known = this.#drafts.get(generation)?.after(generation.written);
    if (known !== undefined) return known;
    const guess = guessAfter(generation, this.#tokenizer, this.#draftTokens);
    const { canvasSlots } = this.#denoiser.config.diffusion;
    const step = new RunStep(this.#contexts, generation, canvas, guess, canvasSlots);
    await this.#scheduler.take(step, generation.ticket, generation.signal);
    if (step.evaluatedDraft !== undefined) this.#drafts.set(generation, step.evaluatedDraft);
    return step.evaluation;
  }
}
