/**
 * The weights of a three-stream model as a next-token model, from left to right: the baseline of diffusion. A step
 * predicts one token, on the leftmost undecided slot of the canvas. It only reads the prefix.
 */

import type { Denoiser } from '../../denoiser/three-stream/denoiser.ts';
import { PREFILL_CHUNK_TOKENS } from '../../denoiser/transformer/memory.ts';
import type { Canvas } from '../../diffusion/canvas.ts';
import { nextTokenStep } from '../../diffusion/next-token.ts';
import type { SamplerSettings } from '../../diffusion/sampler.ts';
import type { AdmissionQueue } from '../admission-queue.ts';
import type { CanvasModel, Evaluation, Generation } from '../canvas-model.ts';
import { NotOfThisModel } from '../errors.ts';
import type { Prompt } from '../prompt.ts';
import { canvasWidth } from '../three-stream/canvas-width.ts';
import type { Contexts } from '../three-stream/contexts.ts';
import type { ThreeStreamModel } from '../three-stream/model.ts';
import type { GenerateRequest } from '../types.ts';

/**
 * What has no meaning from left to right: the text after the cursor, and settings of canvases, by their public names.
 */
const UNREAD_SETTINGS = {
  suffix: 'suffix',
  revealThreshold: 'reveal_threshold',
  editThreshold: 'edit_threshold',
  canvasWidth: 'canvas_width',
  freezeAfter: 'freeze_after',
} as const;

export class AutoregressiveModel implements CanvasModel {
  readonly info: CanvasModel['info'];
  readonly #denoiser: Denoiser;
  readonly #contexts: Contexts;
  readonly #admission: AdmissionQueue;
  /** The same weights: it builds the prompt, and computes its prefill when no tokens are requested. */
  readonly #diffusion: ThreeStreamModel;

  constructor(denoiser: Denoiser, contexts: Contexts, admission: AdmissionQueue, diffusion: ThreeStreamModel) {
    this.info = diffusion.info;
    this.#denoiser = denoiser;
    this.#contexts = contexts;
    this.#admission = admission;
    this.#diffusion = diffusion;
  }

  settings(request: GenerateRequest): SamplerSettings {
    const isUnread = (setting: keyof typeof UNREAD_SETTINGS) => (request[setting] ?? '') !== '';
    const unread = (Object.keys(UNREAD_SETTINGS) as (keyof typeof UNREAD_SETTINGS)[]).find(isUnread);
    if (unread) throw new NotOfThisModel(UNREAD_SETTINGS[unread], 'does not read it with decoding: autoregressive');
    // A token is never evaluated again.
    return { ...this.#diffusion.settings(request), editThreshold: 1 };
  }

  prompt(request: GenerateRequest): Prompt {
    return this.#diffusion.prompt(request);
  }

  canvas(generation: Generation, slots: number): Canvas {
    return this.#diffusion.canvas(generation, slots);
  }

  /** The widest one that is needed: slots that are not computed cost nothing. */
  canvasWidth(_generation: Generation, missing: number): number {
    return canvasWidth(this.#denoiser.config.diffusion.canvasWidths, missing, Number.POSITIVE_INFINITY);
  }

  prefill(generation: Generation): Promise<void> {
    return this.#diffusion.prefill(generation);
  }

  async step(generation: Generation, canvas: Canvas): Promise<Evaluation> {
    const { prompt, written, ticket, signal, meter } = generation;
    const slot = canvas.decidedRun();
    const tokens = [...prompt.prefix, ...written, ...canvas.tokens.subarray(0, slot)];
    for (;;) {
      await this.#admission.waitTurn(ticket, signal);
      const evaluation = meter.measure(() => this.#predictNext(generation, tokens, slot));
      if (evaluation !== undefined) return evaluation;
    }
  }

  /**
   * Predicts the token after `tokens` for `slot`. Undefined during prefill: all tokens of the prompt except the last
   * are read in chunks, into a context that other requests can reuse; later tokens are computed one by one, in the
   * order in which they were generated.
   */
  #predictNext({ prompt, ticket, meter }: Generation, tokens: readonly number[], slot: number): Evaluation | undefined {
    const read = prompt.prefix.slice(0, -1);
    const { prefixes } = this.#contexts;
    const claim = { tokens, promptLength: prompt.prefix.length, owner: ticket, exactLength: read.length };
    const context = prefixes.claim(claim);
    meter.noteCached(context.length);
    if (context.length < read.length) {
      const chunk = read.slice(context.length, context.length + PREFILL_CHUNK_TOKENS);
      meter.measurePrefill(() => this.#denoiser.extend(context, chunk));
      return undefined;
    }
    meter.start();
    context.truncate(tokens.length - 1);
    // More than the last one is missing only when another request has taken the context in between.
    while (context.length < tokens.length - 1) this.#denoiser.extendAndPredict(context, [tokens[context.length]!]);
    const predictions = this.#denoiser.extendAndPredict(context, [tokens.at(-1)!]).keep();
    return { predictions, slots: [slot] };
  }

  readonly sample: CanvasModel['sample'] = (canvas, predictions, settings, special, { step, written, cursor }) =>
    nextTokenStep(canvas, predictions, settings, special, step, written, cursor);
}
