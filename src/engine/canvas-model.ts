/**
 * The port between the engine and a model that fills canvases. The engine owns admission, the canvas loop and the text;
 * a model knows its weights: which tokens it reads, how wide its canvases are, and what it predicts for the slots of
 * one.
 */

import type { Predictions } from '../denoiser/transformer/predictions.ts';
import type { Canvas } from '../diffusion/canvas.ts';
import type { denoisingStep, SamplerSettings } from '../diffusion/sampler.ts';
import type { Ticket } from './admission-queue.ts';
import type { Prompt } from './prompt.ts';
import type { DescribeModel, GenerateRequest } from './types.ts';
import type { UsageMeter } from './usage-meter.ts';

/** One completion while it is generated, as a model sees it. */
export interface Generation {
  readonly request: GenerateRequest;
  readonly settings: SamplerSettings;
  readonly prompt: Prompt;
  /** Tokens of the canvases that have been committed. */
  readonly written: readonly number[];
  readonly meter: UsageMeter;
  readonly ticket: Ticket;
  readonly signal: AbortSignal;
}

/** What a model predicts for a canvas. It belongs to the generation: no later pass changes it. */
export interface Evaluation {
  readonly predictions: Predictions;
  /** The slot of each row; for a row without a prediction, a slot that does not exist. */
  readonly slots: readonly number[];
}

export interface CanvasModel {
  readonly info: ReturnType<DescribeModel>;
  /** See Engine. */
  readonly readAhead?: Promise<void>;

  /**
   * The settings of a request, with the model's defaults.
   * Throws NotOfThisModel for what it does not do.
   */
  settings(request: GenerateRequest): SamplerSettings;

  /** The tokens around the cursor, cut to what the model reads. */
  prompt(request: GenerateRequest): Prompt;

  /**
   * What is read of the prompt, by what the cache has now. Absent where that is always all of it.
   * @param ticket of the request, once it has one
   */
  window?(request: GenerateRequest, prompt: Prompt, ticket?: Ticket): Prompt;

  /** A canvas that starts as masks, after what has been written. */
  canvas(generation: Generation, slots: number): Canvas;

  /** Slots of the next canvas. @param missing tokens that may still be emitted, at least one */
  canvasWidth(generation: Generation, missing: number): number;

  /** Computes keys and values of the prompt, as far as they can be kept. Waits for the turns of the request. */
  prefill(generation: Generation): Promise<void>;

  /**
   * Predicts at least all undecided slots of a canvas. Waits for the turn of the request and first computes the missing
   * part of its context. Undefined if the results of earlier steps on this canvas are lost: the canvas has to be
   * started again, so that it gives the same text. Throws the reason of an abort.
   */
  step(generation: Generation, canvas: Canvas): Promise<Evaluation | undefined>;

  /** Changes the canvas by what was predicted. */
  readonly sample: typeof denoisingStep;
}
