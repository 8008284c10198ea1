/**
 * The engine: from a request to frames and a completion. It admits requests, and runs the canvas loop of each: the
 * model predicts, the sampler changes the canvas, a full canvas is committed and followed by another. Each step waits
 * for the request's turn, so that the event loop and other requests run in between.
 */

import type { Canvas } from '../diffusion/canvas.ts';
import { withNgrams } from '../diffusion/context-ngrams.ts';
import { type Penalties, withPenalties } from '../diffusion/penalties.ts';
import { textConstraint } from '../diffusion/text-constraint.ts';
import { isEnd, type Tokenizer } from '../tokenizer/tokenizer.ts';
import type { AdmissionQueue, Ticket } from './admission-queue.ts';
import type { CanvasModel, Evaluation, Generation } from './canvas-model.ts';
import { slotViews } from './canvas-view.ts';
import { CompletionCache } from './completion-cache.ts';
import { NotOfThisModel } from './errors.ts';
import type { Prompt } from './prompt.ts';
import { Transcript } from './transcript.ts';
import type { Completion, Decoding, Engine, Frame, GenerateRequest, ModelInfo, SlotView, Vocabulary } from './types.ts';
import { UsageMeter } from './usage-meter.ts';

export interface CanvasEngineParts {
  readonly model: Pick<ModelInfo, 'id' | 'created'>;
  readonly tokenizer: Tokenizer;
  /** Releases the resources of the models for a ticket. */
  readonly admission: AdmissionQueue;
  /** The model of each decoding that the weights can do; all of them go through one admission queue. */
  readonly models: { readonly [decoding in Decoding]?: CanvasModel } & { readonly diffusion: CanvasModel };
}

export class CanvasEngine implements Engine {
  readonly model: ModelInfo;
  readonly vocabulary: Vocabulary;
  readonly #tokenizer: Tokenizer;
  readonly #admission: AdmissionQueue;
  readonly #models: CanvasEngineParts['models'];
  readonly #completions = new CompletionCache();

  constructor({ model, tokenizer, admission, models }: CanvasEngineParts) {
    this.model = { ...model, ...models.diffusion.info };
    this.vocabulary = vocabularyOf(tokenizer);
    this.#tokenizer = tokenizer;
    this.#admission = admission;
    this.#models = models;
  }

  get waiting(): number {
    return this.#admission.waiting;
  }

  get underWay(): number {
    return this.#admission.length;
  }

  get readAhead(): Promise<void> {
    return this.#models.diffusion.readAhead ?? Promise.resolve();
  }

  async *generate(request: GenerateRequest, signal: AbortSignal): AsyncGenerator<Frame, Completion> {
    signal.throwIfAborted();
    const model = this.#modelFor(request);
    // Both refuse before a stored completion could answer.
    const sampler = model.settings(request);
    checkCanvasWidth(model, request);
    const rest = this.#completions.lookup(request);
    if (rest !== undefined) return rest;
    const settings = { ...sampler, text: textConstraint(this.#tokenizer, request) };

    this.#admission.checkJoin();
    const joinedMs = performance.now();
    const meter = new UsageMeter(request, joinedMs);
    const measured = <T>(piece: () => T) => meter.measure(() => meter.measurePrefill(piece));
    const whole = measured(() => model.prompt(request));
    const windowNow = (ticket?: Ticket) => measured(() => model.window?.(request, whole, ticket) ?? whole);
    const needOf = ({ prefix, suffix }: Prompt) => ({ prefix, suffix, output: request.maxTokens });
    const atFirst = windowNow();
    const ticket = this.#admission.join(needOf(atFirst));
    const leave = () => this.#admission.leave(ticket);
    // In the Workers runtime the `finally` below may not run when the client has disconnected: the abort itself has to
    // free the place.
    signal.addEventListener('abort', leave);
    try {
      await this.#admission.waitTurn(ticket, signal);
      const queueMs = performance.now() - joinedMs;
      const atTurn = windowNow(ticket);
      const prompt = this.#admission.change(ticket, needOf(atTurn)) ? atTurn : atFirst;
      const { cursor, suffixStart } = prompt;
      const transcript = new Transcript(this.#tokenizer, request, cursor?.token, suffixStart && request.suffix);
      const generation = { request, settings, prompt, written: transcript.tokens, meter, ticket, signal };
      yield* this.#fillCanvases(model, generation, transcript);
      const said = transcript.finish(meter.isSpent ? 'budget' : 'max_tokens');
      const usage = { ...meter.usage(prompt), completionTokens: said.tokens.length, queueMs };
      const completion: Completion = { ...said, usage };
      this.#completions.store(request, completion);
      return completion;
    } finally {
      signal.removeEventListener('abort', leave);
      leave();
    }
  }

  /** Throws NotOfThisModel. */
  #modelFor({ decoding = 'diffusion' }: GenerateRequest): CanvasModel {
    const model = this.#models[decoding];
    if (model === undefined) throw new NotOfThisModel('decoding', 'has not learned to decode from left to right');
    return model;
  }

  /** The canvas loop. */
  async *#fillCanvases(
    model: CanvasModel,
    generation: Generation,
    transcript: Transcript,
  ): AsyncGenerator<Frame, void> {
    const { request, settings, meter, signal } = generation;
    const maxTokens = Math.min(request.maxTokens, this.model.maxOutputTokens);
    if (maxTokens === 0) await model.prefill(generation);

    let ended = false;
    for (let block = 0; !ended && !meter.isSpent && transcript.missing(maxTokens) > 0; block++) {
      const canvas = model.canvas(generation, model.canvasWidth(generation, transcript.missing(maxTokens)));
      const stepsBefore = meter.steps;
      let wanted = transcript.wanted(canvas, maxTokens);
      while (!ended && !meter.isSpent && canvas.undecided(wanted).length > 0) {
        const evaluation = await model.step(generation, canvas);
        if (evaluation === undefined) {
          canvas.restart();
          wanted = transcript.wanted(canvas, maxTokens);
          meter.steps = stepsBefore;
          continue;
        }
        const slots = meter.measure(() => this.#sample(model, generation, { canvas, wanted, evaluation }));
        wanted = transcript.wanted(canvas, maxTokens);
        ended = transcript.stopsIn(canvas);
        const { steps, cpuMs } = meter;
        yield { ...transcript.frame(canvas, settings), ...(slots && { canvas: { step: steps, block, cpuMs, slots } }) };
        signal.throwIfAborted();
      }
      ended ||= canvas.ended;
      transcript.commit(canvas, ended ? canvas.decidedRun() : wanted);
    }
  }

  /** Changes the canvas by an evaluation; gives what is to be seen of that if the request asks for it. */
  #sample(
    model: CanvasModel,
    { request, settings, prompt, written, meter }: Generation,
    { canvas, wanted, evaluation }: { canvas: Canvas; wanted: number; evaluation: Evaluation },
  ): SlotView[] | undefined {
    const { special } = this.#tokenizer;
    const { slots } = evaluation;
    const penalties = penaltiesOf(request);
    const mixed = prompt.ngrams
      ? withNgrams(evaluation.predictions, prompt.ngrams, canvas.tokens, written, slots, special.mask)
      : evaluation.predictions;
    const predictions = penalties ? withPenalties(mixed, canvas.tokens, written, penalties, special, slots) : mixed;
    const before = canvas.tokens.slice();
    meter.step(slots.length);
    const cursor = prompt.cursor?.token;
    const { suffixStart } = prompt;
    const step = { step: meter.steps, wanted, final: meter.isSpent, slots, written, cursor, suffixStart };
    model.sample(canvas, predictions, settings, special, step);
    if (!request.showCanvas) return undefined;
    const rows = new Map(slots.map((slot, row) => [slot, row]));
    const rowOf = (slot: number) => rows.get(slot);
    const bytesBeforeCursor = cursor?.begun.length;
    const view = { canvas, before, predictions, rowOf, text: settings.text, written, bytesBeforeCursor };
    return slotViews(view, this.#tokenizer);
  }
}

/** Throws NotOfThisModel. */
function checkCanvasWidth({ info }: CanvasModel, { canvasWidth }: GenerateRequest): void {
  const widths = info.diffusion?.canvasWidths ?? [];
  if (canvasWidth === undefined || widths.includes(canvasWidth)) return;
  throw new NotOfThisModel('canvas_width', `has canvases of ${widths.join(', ') || 'no'} slots, not of ${canvasWidth}`);
}

/** Undefined without penalties: penalties need all logits of every slot. */
function penaltiesOf({
  presencePenalty = 0,
  frequencyPenalty = 0,
  logitBias = new Map(),
}: GenerateRequest): Penalties | undefined {
  if (presencePenalty === 0 && frequencyPenalty === 0 && logitBias.size === 0) return undefined;
  return { presence: presencePenalty, frequency: frequencyPenalty, bias: logitBias };
}

function vocabularyOf(tokenizer: Tokenizer): Vocabulary {
  return {
    isText: (id) => tokenizer.isText(id),
    isEnd: (id) => isEnd(id, tokenizer.special),
    decode: (ids) => tokenizer.decode(ids),
    encode: (text) => tokenizer.encode(text),
    bytesOf: (id) => tokenizer.bytesOf(id),
  };
}
