/**
 * The engine: from a request to frames and a completion. Prompt → contexts from the prefix cache → canvas after canvas → text.
 * Between two steps, or two chunks of context, the event loop gets its turn and so do other requests.
 */

import { parseConfig } from '../denoiser/three-stream/config.ts';
import { Denoiser } from '../denoiser/three-stream/denoiser.ts';
import type { KvCache } from '../denoiser/three-stream/kv-cache.ts';
import { CHUNK_TOKENS } from '../denoiser/three-stream/memory.ts';
import type { Predictions } from '../denoiser/transformer/predictions.ts';
import { ConfigError } from '../denoiser/transformer/shape.ts';
import { Canvas } from '../diffusion/canvas.ts';
import { nextTokenStep } from '../diffusion/next-token.ts';
import { type Penalties, withPenalties } from '../diffusion/penalties.ts';
import { denoisingStep, type SamplerSettings } from '../diffusion/sampler.ts';
import { textConstraint } from '../diffusion/text-constraint.ts';
import { loadTokenizer, type Tokenizer } from '../tokenizer/tokenizer.ts';
import { AdmissionQueue, type Ticket } from './admission-queue.ts';
import { slotViews } from './canvas-view.ts';
import { CompletionCache } from './completion-cache.ts';
import { buildPrompt, type Prompt } from './prompt.ts';
import { BatchScheduler, type Step } from './three-stream/batch-scheduler.ts';
import { canvasWidth } from './three-stream/canvas-width.ts';
import { DenoisingStep, type PrefillParts, PrefillStep } from './three-stream/denoising-step.ts';
import { PrefixCache } from './three-stream/prefix-cache.ts';
import { Transcript } from './transcript.ts';
import type {
  Completion,
  Engine,
  EngineLimits,
  EngineParts,
  Frame,
  GenerateRequest,
  ModelInfo,
  SlotView,
  Vocabulary,
} from './types.ts';
import { UsageMeter } from './usage-meter.ts';

/**
 * More than fifty full contexts of nano: a text that is typed in is read once, whoever else types meanwhile. The memory plan bounds them
 * by what an isolate has, so that larger models have fewer.
 */
export const DEFAULT_CACHE_BYTES = 72 * 2 ** 20;

/**
 * Requests that take turns step by step. The others wait: were all served at once, under load nobody would be done before the
 * next key gives up what was begun.
 */
const MAX_CONCURRENT = 8;

/** Chosen from a curve of quality against cost (`npm run bench:quality`), see bench/RESULTS.md. */
const DEFAULT_FREEZE_AFTER = 1;

/**
 * Loads a model. Rejects with TokenizerError, ConfigError or SafetensorsError, each naming what is wrong in the file, and with
 * whatever the weights stream fails with.
 */
export async function createEngine(parts: EngineParts): Promise<Engine> {
  const tokenizer = loadTokenizer(parts.tokenizer);
  const config = parseConfig(parts.config);
  if (tokenizer.vocabSize > config.vocabSize) {
    throw new ConfigError(
      `config.json: vocab_size is ${config.vocabSize}, the tokenizer has ${tokenizer.vocabSize} tokens`,
    );
  }
  const denoiser = await Denoiser.load({
    modules: parts.kernels,
    config,
    openWeights: parts.openWeights,
    cacheBytes: parts.limits?.cacheBytes ?? DEFAULT_CACHE_BYTES,
  });
  return new DiffusionEngine(parts.model, tokenizer, denoiser, parts.limits ?? {});
}

/** A piece of work has more to compute and gives way to others meanwhile. */
const NOT_YET = Symbol('not yet');

/** One completion while it is generated. */
interface Generation {
  readonly request: GenerateRequest;
  readonly settings: SamplerSettings;
  readonly penalties: Penalties | undefined;
  readonly prompt: Prompt;
  readonly transcript: Transcript;
  readonly meter: UsageMeter;
  readonly ticket: Ticket;
  readonly signal: AbortSignal;
}

/** A canvas of a completion. */
interface Block {
  readonly canvas: Canvas;
  /** Slots that can still be emitted. */
  readonly wanted: number;
  /** Steps of the canvases before it. */
  readonly stepsBefore: number;
}

class DiffusionEngine implements Engine {
  readonly model: ModelInfo;
  readonly vocabulary: Vocabulary;
  readonly #tokenizer: Tokenizer;
  readonly #denoiser: Denoiser;
  readonly #prefixes: PrefixCache;
  readonly #suffixes: PrefixCache;
  readonly #admission: AdmissionQueue;
  readonly #scheduler: BatchScheduler;
  readonly #completions = new CompletionCache();

  constructor(model: EngineParts['model'], tokenizer: Tokenizer, denoiser: Denoiser, limits: EngineLimits) {
    const { prefixTokens, suffixTokens, canvasSlots, canvasWidths, revealThreshold, editThreshold } =
      denoiser.config.diffusion;
    this.model = {
      ...model,
      contextLength: prefixTokens + suffixTokens + canvasSlots,
      maxOutputTokens: denoiser.maxOutputTokens,
      diffusion: { canvasWidths, revealThreshold, editThreshold },
    };
    this.vocabulary = vocabularyOf(tokenizer);
    this.#tokenizer = tokenizer;
    this.#denoiser = denoiser;
    this.#prefixes = new PrefixCache(denoiser, denoiser.prefixContexts);
    this.#suffixes = new PrefixCache(denoiser, denoiser.suffixContexts);
    const release = (ticket: Ticket) => {
      this.#prefixes.release(ticket);
      this.#suffixes.release(ticket);
    };
    const maxConcurrent = Math.min(denoiser.prefixContexts.length, MAX_CONCURRENT);
    this.#admission = new AdmissionQueue(maxConcurrent, release, limits.maxWaiting);
    this.#scheduler = new BatchScheduler(denoiser, this.#admission, limits.requestsPerPass);
  }

  get waiting(): number {
    return this.#admission.waiting;
  }

  async *generate(request: GenerateRequest, signal: AbortSignal): AsyncGenerator<Frame, Completion> {
    const rest = this.#completions.lookup(request);
    if (rest !== undefined) return rest;
    const joinedMs = performance.now();
    const ticket = this.#admission.join();
    const leave = () => this.#admission.leave(ticket);
    // At once: whoever has gone need not come to its `finally` in the Workers runtime, and must not keep others waiting meanwhile.
    signal.addEventListener('abort', leave);
    try {
      await this.#admission.waitTurn(ticket, signal);
      const queueMs = performance.now() - joinedMs;
      const completion = yield* this.#denoise(request, ticket, signal, joinedMs);
      this.#completions.store(request, completion);
      return { ...completion, usage: { ...completion.usage, queueMs } };
    } finally {
      signal.removeEventListener('abort', leave);
      leave();
    }
  }

  async *#denoise(
    request: GenerateRequest,
    ticket: Ticket,
    signal: AbortSignal,
    joinedMs: number,
  ): AsyncGenerator<Frame, Completion> {
    const { config } = this.#denoiser;
    if (request.decoding === 'autoregressive' && request.suffix !== '') {
      throw new RangeError('autoregressive decoding reads no suffix');
    }
    const settings: SamplerSettings = {
      temperature: request.temperature,
      topP: request.topP,
      seed: request.seed,
      revealThreshold: request.revealThreshold ?? config.diffusion.revealThreshold,
      // Nothing that was said is ever looked at again from left to right.
      editThreshold:
        request.decoding === 'autoregressive' ? 1 : (request.editThreshold ?? config.diffusion.editThreshold),
      maxEditsPerSlot: config.diffusion.maxEditsPerSlot,
      alternatives: request.alternatives ?? 0,
      text: textConstraint(this.#tokenizer, request),
      freezeAfter: request.freezeAfter ?? DEFAULT_FREEZE_AFTER,
    };
    const maxTokens = Math.min(request.maxTokens, this.model.maxOutputTokens);
    const meter = new UsageMeter(request, joinedMs);
    const prompt = meter.measure(() =>
      meter.measurePrefill(() =>
        buildPrompt(request.prefix, request.suffix, this.#tokenizer, config.diffusion, request.prefixTokens),
      ),
    );
    const transcript = new Transcript(this.#tokenizer, request);
    const generation = {
      request,
      settings,
      penalties: penaltiesOf(request),
      prompt,
      transcript,
      meter,
      ticket,
      signal,
    };
    if (maxTokens === 0) await this.#take(generation, new PrefillStep(this.#stepParts(generation, prompt.prefix)));

    let ended = false;
    for (let block = 0; !ended && !meter.isSpent && transcript.tokens.length < maxTokens; block++) {
      const left = maxTokens - transcript.tokens.length;
      const { canvasWidths } = config.diffusion;
      // From left to right, slots that are not computed cost nothing.
      const widest = request.decoding === 'autoregressive' ? Number.POSITIVE_INFINITY : undefined;
      const width = request.canvasWidth ?? canvasWidth(canvasWidths, left, widest);
      const canvas = new Canvas(width, this.#tokenizer.special);
      const wanted = Math.min(canvas.slots, left);
      const stepsBefore = meter.steps;
      while (!ended && !meter.isSpent && canvas.undecided(wanted).length > 0) {
        const slots = await this.#step(generation, { canvas, wanted, stepsBefore });
        ended = transcript.stopsIn(canvas);
        const { steps, cpuMs } = meter;
        yield { ...transcript.frame(canvas, settings), ...(slots && { canvas: { step: steps, block, cpuMs, slots } }) };
      }
      ended ||= canvas.ended;
      transcript.commit(canvas, ended ? canvas.decidedRun() : wanted);
    }

    const said = transcript.finish(meter.isSpent ? 'budget' : 'max_tokens');
    return { ...said, usage: { ...meter.usage(prompt), completionTokens: said.tokens.length } };
  }

  /** Takes one step on the canvas; gives what is to be seen of it if the request asks for that. */
  async #step(generation: Generation, { canvas, wanted, stepsBefore }: Block): Promise<SlotView[] | undefined> {
    const { request, settings, penalties, prompt, transcript, meter } = generation;
    const { special } = this.#tokenizer;
    const before = canvas.tokens.slice();
    const stream = [...prompt.prefix, ...transcript.tokens];
    const views = (predictions: Predictions, rowOf: (slot: number) => number | undefined) =>
      request.showCanvas
        ? slotViews(
            { canvas, before, predictions, rowOf, text: settings.text, written: transcript.tokens },
            this.#tokenizer,
          )
        : undefined;

    if (request.decoding === 'autoregressive') {
      const slot = canvas.decidedRun();
      const written = [...transcript.tokens, ...before.subarray(0, slot)];
      return this.#withNextToken(generation, [...prompt.prefix, ...written], (evaluated) => {
        meter.step(evaluated.rows);
        const predictions = penalties
          ? withPenalties(evaluated, Int32Array.of(special.mask), written, penalties, special)
          : evaluated;
        nextTokenStep(canvas, predictions, settings, special, meter.steps, transcript.tokens);
        return views(predictions, () => undefined);
      });
    }
    let shown: SlotView[] | undefined;
    const step = new DenoisingStep({
      ...this.#stepParts(generation, stream),
      canvas,
      freezeAfter: settings.freezeAfter,
      restart() {
        canvas.restart();
        meter.steps = stepsBefore;
      },
      use(evaluated, slots) {
        const predictions = penalties
          ? withPenalties(evaluated, canvas.tokens, transcript.tokens, penalties, special, slots)
          : evaluated;
        meter.step(predictions.rows);
        denoisingStep(canvas, predictions, settings, special, {
          step: meter.steps,
          wanted,
          final: meter.isSpent,
          slots,
          written: transcript.tokens,
        });
        const rows = new Map(slots.map((slot, row) => [slot, row]));
        shown = views(predictions, (slot) => rows.get(slot));
      },
    });
    await this.#take(generation, step);
    return shown;
  }

  #stepParts({ prompt, ticket, meter }: Generation, stream: readonly number[]): PrefillParts {
    return { prefixes: this.#prefixes, suffixes: this.#suffixes, prompt, stream, ticket, meter };
  }

  #take({ ticket, signal }: Generation, step: Step): Promise<void> {
    return this.#scheduler.take(step, ticket, signal);
  }

  /**
   * Calls `use` with what the prefix stream predicts behind `tokens`. The prompt but its last token is read in chunks, and shared with
   * whoever needs it; what follows is computed token by token, as it came about.
   */
  #withNextToken<T>(
    generation: Generation,
    tokens: readonly number[],
    use: (predictions: Predictions) => T,
  ): Promise<T> {
    const { prompt, ticket, meter } = generation;
    const read = prompt.prefix.slice(0, -1);
    return this.#inTurn(generation, () => {
      const context = this.#prefixes.claim(tokens, prompt.prefix.length, ticket, read.length);
      meter.noteCached(context.length);
      if (meter.measurePrefill(() => this.#extend(context, read))) return NOT_YET;
      meter.start();
      // More than the last one is missing only when another request has taken the context in between.
      context.truncate(tokens.length - 1);
      while (context.length < tokens.length - 1) this.#denoiser.extendAndPredict(context, [tokens[context.length]!]);
      return use(this.#denoiser.extendAndPredict(context, [tokens.at(-1)!]));
    });
  }

  /** Tries a piece of work at each turn of the request until it is done. */
  async #inTurn<T>({ ticket, signal, meter }: Generation, piece: () => T | typeof NOT_YET): Promise<T> {
    for (;;) {
      await this.#admission.waitTurn(ticket, signal);
      const done = meter.measure(piece);
      if (done !== NOT_YET) return done;
    }
  }

  /** Computes the next chunk of what the context lacks of `tokens`; false when it lacks nothing. */
  #extend(context: KvCache, tokens: readonly number[]): boolean {
    if (context.length >= tokens.length) return false;
    this.#denoiser.extend(context, tokens.slice(context.length, context.length + CHUNK_TOKENS));
    return true;
  }
}

/** Undefined when there are none: to penalize takes all logits of every slot. */
export function penaltiesOf({
  presencePenalty = 0,
  frequencyPenalty = 0,
  logitBias = new Map(),
}: GenerateRequest): Penalties | undefined {
  if (presencePenalty === 0 && frequencyPenalty === 0 && logitBias.size === 0) return undefined;
  return { presence: presencePenalty, frequency: frequencyPenalty, bias: logitBias };
}

export function vocabularyOf(tokenizer: Tokenizer): Vocabulary {
  const { eom, endOfText } = tokenizer.special;
  return {
    isText: (id) => tokenizer.isText(id),
    isEnd: (id) => id === eom || id === endOfText,
    decode: (ids) => tokenizer.decode(ids),
  };
}
