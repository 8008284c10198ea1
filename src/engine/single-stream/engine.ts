/**
 * The engine of public diffusion checkpoints, whose context and canvas are one stream (denoiser/single-stream). One request at a time: a step
 * computes the whole stream, or at least a block of a large model, and gains nothing from company.
 */

import { parseSingleStreamConfig, type SingleStreamConfig } from '../../denoiser/single-stream/config.ts';
import { SingleStreamDenoiser } from '../../denoiser/single-stream/denoiser.ts';
import { ConfigError } from '../../denoiser/transformer/shape.ts';
import { Canvas } from '../../diffusion/canvas.ts';
import { withPenalties } from '../../diffusion/penalties.ts';
import { denoisingStep, type SamplerSettings } from '../../diffusion/sampler.ts';
import { textConstraint } from '../../diffusion/text-constraint.ts';
import { loadTokenizer, NO_TOKEN, type SpecialTokens, type Tokenizer } from '../../tokenizer/tokenizer.ts';
import { AdmissionQueue, type Ticket } from '../admission-queue.ts';
import { slotViews } from '../canvas-view.ts';
import { penaltiesOf, vocabularyOf } from '../engine.ts';
import { NotOfThisModel } from '../errors.ts';
import { buildPrompt, type Prompt } from '../prompt.ts';
import { Transcript } from '../transcript.ts';
import type {
  Completion,
  Engine,
  EngineParts,
  Frame,
  GenerateRequest,
  ModelInfo,
  SlotView,
  Vocabulary,
} from '../types.ts';
import { UsageMeter } from '../usage-meter.ts';

/** These models have learned nothing of wrong tokens, so none is edited unless the request says so. */
const EDIT_THRESHOLD = 1;
const MAX_EDITS_PER_SLOT = 2;

/** Rejects as `createEngine` does. */
export async function createSingleStreamEngine(parts: EngineParts): Promise<Engine> {
  const config = parseSingleStreamConfig(parts.config);
  const tokenizer = loadTokenizer(parts.tokenizer, specialTokensOf(config));
  if (tokenizer.vocabSize > config.vocabSize) {
    throw new ConfigError(
      `config.json: vocab_size is ${config.vocabSize}, the tokenizer has ${tokenizer.vocabSize} tokens`,
    );
  }
  const { kernels: modules, openWeights } = parts;
  const denoiser = await SingleStreamDenoiser.load({ modules, config, openWeights });
  return new SingleStreamEngine(parts.model, tokenizer, denoiser, parts.limits?.maxWaiting);
}

/** What is behind the end is the end again, and neither side of the cursor is announced. */
function specialTokensOf({ diffusion }: SingleStreamConfig): SpecialTokens {
  const [eom, endOfText = eom!] = diffusion.endTokenIds;
  return { mask: diffusion.maskTokenId, eom: eom!, endOfText, pad: NO_TOKEN, prefix: NO_TOKEN, suffix: NO_TOKEN };
}

/** What stands on both sides of the canvas. */
interface Sides {
  readonly left: readonly number[];
  readonly right: readonly number[];
  readonly prompt: Prompt;
}

/** One completion while it is generated. */
interface Generation {
  readonly request: GenerateRequest;
  readonly settings: SamplerSettings;
  readonly sides: Sides;
  readonly transcript: Transcript;
  readonly meter: UsageMeter;
  readonly ticket: Ticket;
  readonly signal: AbortSignal;
}

class SingleStreamEngine implements Engine {
  readonly model: ModelInfo;
  readonly vocabulary: Vocabulary;
  readonly #tokenizer: Tokenizer;
  readonly #denoiser: SingleStreamDenoiser;
  readonly #admission: AdmissionQueue;

  constructor(
    model: EngineParts['model'],
    tokenizer: Tokenizer,
    denoiser: SingleStreamDenoiser,
    maxWaiting: number | undefined,
  ) {
    const { prefixTokens, suffixTokens, canvasSlots, revealThreshold, maxOutputTokens } = denoiser.config.diffusion;
    this.model = {
      ...model,
      contextLength: prefixTokens + suffixTokens + canvasSlots,
      maxOutputTokens,
      diffusion: { canvasWidths: [canvasSlots], revealThreshold, editThreshold: EDIT_THRESHOLD },
    };
    this.vocabulary = vocabularyOf(tokenizer);
    this.#tokenizer = tokenizer;
    this.#denoiser = denoiser;
    this.#admission = new AdmissionQueue(1, () => {}, maxWaiting);
  }

  get waiting(): number {
    return this.#admission.waiting;
  }

  async *generate(request: GenerateRequest, signal: AbortSignal): AsyncGenerator<Frame, Completion> {
    if (request.decoding === 'autoregressive') throw new NotOfThisModel('has not learned to decode from left to right');
    const joinedMs = performance.now();
    const ticket = this.#admission.join();
    try {
      await this.#admission.waitTurn(ticket, signal);
      const queueMs = performance.now() - joinedMs;
      const completion = yield* this.#denoise(request, ticket, signal, joinedMs);
      return { ...completion, usage: { ...completion.usage, queueMs } };
    } finally {
      this.#admission.leave(ticket);
    }
  }

  async *#denoise(
    request: GenerateRequest,
    ticket: Ticket,
    signal: AbortSignal,
    joinedMs: number,
  ): AsyncGenerator<Frame, Completion> {
    const settings: SamplerSettings = {
      temperature: request.temperature,
      topP: request.topP,
      seed: request.seed,
      revealThreshold: request.revealThreshold ?? this.#denoiser.config.diffusion.revealThreshold,
      editThreshold: request.editThreshold ?? EDIT_THRESHOLD,
      maxEditsPerSlot: MAX_EDITS_PER_SLOT,
      // Every step computes all slots anew.
      freezeAfter: Number.POSITIVE_INFINITY,
      alternatives: request.alternatives ?? 0,
      text: textConstraint(this.#tokenizer, request),
    };
    const maxTokens = Math.min(request.maxTokens, this.model.maxOutputTokens);
    const meter = new UsageMeter(request, joinedMs);
    const sides = meter.measure(() => meter.measurePrefill(() => this.#sidesOf(request)));
    const transcript = new Transcript(this.#tokenizer, request);
    const generation = { request, settings, sides, transcript, meter, ticket, signal };
    if (maxTokens === 0) await this.#read(generation, sides.left);

    let ended = false;
    for (let block = 0; !ended && !meter.isSpent && transcript.tokens.length < maxTokens; block++) {
      const missing = maxTokens - transcript.tokens.length;
      const stream = [...sides.left, ...transcript.tokens];
      // No wider than needed, unless asked for: every slot has to be filled, and the model may want fewer.
      const widest = this.#denoiser.canvasWidth(stream.length);
      const canvas = new Canvas(Math.min(widest, request.canvasWidth ?? missing), this.#tokenizer.special);
      const wanted = Math.min(canvas.slots, missing);
      while (!ended && !meter.isSpent && canvas.undecided(wanted).length > 0) {
        const slots = await this.#step(generation, stream, canvas, wanted);
        ended = transcript.stopsIn(canvas);
        const { steps, cpuMs } = meter;
        yield { ...transcript.frame(canvas, settings), ...(slots && { canvas: { step: steps, block, cpuMs, slots } }) };
      }
      ended ||= canvas.ended;
      transcript.commit(canvas, ended ? canvas.decidedRun() : wanted);
    }

    const said = transcript.finish(meter.isSpent ? 'budget' : 'max_tokens');
    return { ...said, usage: { ...meter.usage(sides.prompt), completionTokens: said.tokens.length } };
  }

  /** Takes one step on the canvas; gives what is to be seen of it if the request asks for that. */
  async #step(
    generation: Generation,
    left: readonly number[],
    canvas: Canvas,
    wanted: number,
  ): Promise<SlotView[] | undefined> {
    const { request, settings, sides, transcript, meter } = generation;
    const { special } = this.#tokenizer;
    await this.#read(generation, left);
    return meter.measure(() => {
      meter.start();
      const before = canvas.tokens.slice();
      const evaluated = this.#denoiser.evaluate({ left, canvas: before, right: sides.right });
      const penalties = penaltiesOf(request);
      const predictions = penalties
        ? withPenalties(evaluated, canvas.tokens, transcript.tokens, penalties, special)
        : evaluated;
      meter.step(predictions.rows);
      const written = transcript.tokens;
      denoisingStep(canvas, predictions, settings, special, {
        step: meter.steps,
        wanted,
        final: meter.isSpent,
        written,
      });
      if (!request.showCanvas) return undefined;
      return slotViews(
        { canvas, before, predictions, rowOf: (slot) => slot, text: settings.text, written },
        this.#tokenizer,
      );
    });
  }

  /** Reads all blocks of `left` that can be kept, a pause before each chunk and behind the last one. */
  async #read({ meter, ticket, signal }: Generation, left: readonly number[]): Promise<void> {
    await this.#admission.waitTurn(ticket, signal);
    meter.noteCached(this.#denoiser.cachedLength(left));
    while (meter.measure(() => meter.measurePrefill(() => this.#denoiser.read(left)))) {
      await this.#admission.waitTurn(ticket, signal);
    }
  }

  /** The tokens around the cursor. A model that sees nothing on the right is told of it on the left, if it has learned to be. */
  #sidesOf({ prefix, suffix, prefixTokens }: GenerateRequest): Sides {
    const { diffusion } = this.#denoiser.config;
    const { special } = this.#tokenizer;
    const built = buildPrompt(prefix, suffix, this.#tokenizer, diffusion, prefixTokens);
    // Three-stream prompts begin with markers and have their right side turned round.
    const text = built.prefix.slice(1);
    const read = text[0] === special.endOfText ? text.slice(1) : text;
    const after = built.suffix.slice(1).reverse();
    const sides = (left: number[], right: number[]): Sides => ({
      left,
      right,
      prompt: { ...built, prefix: left, suffix: right },
    });
    if (suffix === '' || diffusion.attention === 'bidirectional') {
      return sides(read.length > 0 ? read : [special.endOfText], after);
    }
    const fim = diffusion.fimTokenIds;
    if (!fim) throw new NotOfThisModel('sees nothing on the right of the cursor, so it takes no suffix');
    return sides([fim.prefix, ...read, fim.suffix, ...after, fim.middle], []);
  }
}
