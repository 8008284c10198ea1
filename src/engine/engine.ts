/**
 * The engine: from a request to frames and a completion. Prompt → contexts from the prefix cache → canvas after canvas → text.
 * Between two steps, or two chunks of context, the event loop gets its turn and so do other requests.
 */

import { ConfigError, parseConfig } from '../denoiser/config.ts';
import type { ContextStream } from '../denoiser/context.ts';
import { Denoiser } from '../denoiser/denoiser.ts';
import { CHUNK_TOKENS } from '../denoiser/memory.ts';
import { Canvas } from '../diffusion/canvas.ts';
import { type Penalties, withPenalties } from '../diffusion/penalties.ts';
import { denoisingStep, type SamplerSettings } from '../diffusion/sampler.ts';
import { loadTokenizer, type Tokenizer } from '../tokenizer/tokenizer.ts';
import { Line, type Ticket } from './line.ts';
import { PrefixCache } from './prefix-cache.ts';
import { buildPrompt, type Prompt } from './prompt.ts';
import { Transcript } from './transcript.ts';
import type { Completion, Engine, EngineParts, Frame, GenerateRequest, ModelInfo, Usage, Vocabulary } from './types.ts';

/** Four to five full contexts of the nano model; an isolate has 128 MB for everything. */
const DEFAULT_CACHE_BYTES = 48 * 2 ** 20;

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
  return new DiffusionEngine(parts.model, tokenizer, denoiser, parts.limits?.maxWaiting);
}

class DiffusionEngine implements Engine {
  readonly model: ModelInfo;
  readonly vocabulary: Vocabulary;
  readonly #tokenizer: Tokenizer;
  readonly #denoiser: Denoiser;
  readonly #prefixes: PrefixCache;
  readonly #suffixes: PrefixCache;
  readonly #line: Line;

  constructor(model: EngineParts['model'], tokenizer: Tokenizer, denoiser: Denoiser, maxWaiting?: number) {
    const { prefixTokens, suffixTokens, canvasSlots } = denoiser.config.diffusion;
    this.model = {
      ...model,
      contextLength: prefixTokens + suffixTokens + canvasSlots,
      maxOutputTokens: denoiser.maxOutputTokens,
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
    this.#line = new Line(denoiser.prefixContexts.length, release, maxWaiting);
  }

  get waiting(): number {
    return this.#line.waiting;
  }

  async *generate(request: GenerateRequest, signal: AbortSignal): AsyncGenerator<Frame, Completion> {
    const joinedMs = performance.now();
    const ticket = this.#line.join();
    try {
      await this.#line.turn(ticket, signal);
      const queueMs = performance.now() - joinedMs;
      const completion = yield* this.#denoise(request, ticket, signal, joinedMs);
      return { ...completion, usage: { ...completion.usage, queueMs } };
    } finally {
      this.#line.leave(ticket);
    }
  }

  async *#denoise(
    request: GenerateRequest,
    ticket: Ticket,
    signal: AbortSignal,
    joinedMs: number,
  ): AsyncGenerator<Frame, Completion> {
    const { config } = this.#denoiser;
    const { special } = this.#tokenizer;
    const settings: SamplerSettings = {
      temperature: request.temperature,
      topP: request.topP,
      seed: request.seed,
      revealThreshold: request.revealThreshold ?? config.diffusion.revealThreshold,
      editThreshold: request.editThreshold ?? config.diffusion.editThreshold,
      maxEditsPerSlot: config.diffusion.maxEditsPerSlot,
      alternatives: request.alternatives ?? 0,
    };
    const penalties = penaltiesOf(request);
    const maxTokens = Math.min(request.maxTokens, this.model.maxOutputTokens);
    const maxSteps = request.maxSteps ?? Number.POSITIVE_INFINITY;
    const { deadlineMs = Number.POSITIVE_INFINITY, maxDenoisingMs = Number.POSITIVE_INFINITY } = request;
    const work = new Work();
    const prompt = work.measure(() =>
      buildPrompt(request.prefix, request.suffix, this.#tokenizer, config.diffusion, request.prefixTokens),
    );
    const transcript = new Transcript(this.#tokenizer, request.stop);
    if (maxTokens === 0) await this.#withContexts(prompt, prompt.prefix, ticket, signal, work, () => {});

    let ended = false;
    let final = false;
    let startedMs: number | undefined;
    while (!ended && !final && transcript.tokens.length < maxTokens) {
      const left = maxTokens - transcript.tokens.length;
      // No wider than needed: a step costs what its slots cost.
      const { canvasSlots, canvasWidths } = config.diffusion;
      const canvas = new Canvas(canvasWidths.find((width) => width >= left) ?? canvasSlots, special);
      const wanted = Math.min(canvas.slots, left);
      const prefixStream = [...prompt.prefix, ...transcript.tokens];
      while (!ended && canvas.undecided(wanted).length > 0) {
        await this.#withContexts(prompt, prefixStream, ticket, signal, work, (prefix, suffix) => {
          startedMs ??= performance.now();
          const evaluated = this.#denoiser.evaluate(prefix, suffix, canvas.tokens, canvas.slots);
          const predictions = penalties
            ? withPenalties(evaluated, canvas.tokens, transcript.tokens, penalties, special)
            : evaluated;
          work.step(predictions.rows);
          const nowMs = performance.now();
          const isLate = nowMs - joinedMs >= deadlineMs || nowMs - startedMs >= maxDenoisingMs;
          final = isLate || work.steps >= maxSteps;
          denoisingStep(canvas, predictions, settings, special, { step: work.steps, wanted, final });
        });
        ended = transcript.stopsIn(canvas);
        yield transcript.frame(canvas, settings);
      }
      ended ||= canvas.ended;
      transcript.commit(canvas, ended ? canvas.decidedRun() : wanted);
    }

    const { text, tokens, confidence } = transcript.finish();
    const usage = { ...work.usage(prompt), completionTokens: tokens.length };
    return { text, finishReason: ended ? 'stop' : 'length', usage, confidence, tokens };
  }

  /**
   * Calls `use` with the complete contexts of both streams. Every chunk that has to be computed first is followed by a pause;
   * between the last look at the contexts and `use` there is none.
   */
  async #withContexts(
    prompt: Prompt,
    prefixStream: readonly number[],
    ticket: Ticket,
    signal: AbortSignal,
    work: Work,
    use: (prefix: ContextStream, suffix: ContextStream | undefined) => void,
  ): Promise<void> {
    const hasSuffix = prompt.suffix.length > 0;
    for (;;) {
      await this.#line.turn(ticket, signal);
      const complete = work.measure(() => {
        const prefix = this.#prefixes.claim(prefixStream, prompt.prefix.length, ticket);
        const suffix = hasSuffix ? this.#suffixes.claim(prompt.suffix, prompt.suffix.length, ticket) : undefined;
        work.noteCached(prefix.length + (suffix?.length ?? 0));
        if (work.measurePrefill(() => this.#extend(prefix, prefixStream))) return false;
        if (suffix && work.measurePrefill(() => this.#extend(suffix, prompt.suffix))) return false;
        use(prefix, suffix);
        return true;
      });
      if (complete) return;
    }
  }

  /** Computes the next chunk of what the context lacks of `tokens`; false when it lacks nothing. */
  #extend(context: ContextStream, tokens: readonly number[]): boolean {
    if (context.length === tokens.length) return false;
    this.#denoiser.extend(context, tokens.slice(context.length, context.length + CHUNK_TOKENS));
    return true;
  }
}

/** Undefined when there are none: to penalize takes all logits of every slot. */
function penaltiesOf({
  presencePenalty = 0,
  frequencyPenalty = 0,
  logitBias = new Map(),
}: GenerateRequest): Penalties | undefined {
  if (presencePenalty === 0 && frequencyPenalty === 0 && logitBias.size === 0) return undefined;
  return { presence: presencePenalty, frequency: frequencyPenalty, bias: logitBias };
}

function vocabularyOf(tokenizer: Tokenizer): Vocabulary {
  const { eom, endOfText } = tokenizer.special;
  return {
    isText: (id) => tokenizer.isText(id),
    isEnd: (id) => id === eom || id === endOfText,
    decode: (ids) => tokenizer.decode(ids),
  };
}

/** What a request has cost so far. */
class Work {
  steps = 0;
  #slotEvaluations = 0;
  #cpuMs = 0;
  #prefillMs = 0;
  #cachedTokens: number | undefined;

  /** Runs a piece of synchronous work. The clock stands still in it where the runtime hides time from code. */
  measure<T>(piece: () => T): T {
    const start = performance.now();
    try {
      return piece();
    } finally {
      this.#cpuMs += performance.now() - start;
    }
  }

  /** Runs a part of a measured piece that computes context. */
  measurePrefill<T>(part: () => T): T {
    const start = performance.now();
    try {
      return part();
    } finally {
      this.#prefillMs += performance.now() - start;
    }
  }

  step(slots: number): void {
    this.steps++;
    this.#slotEvaluations += slots;
  }

  /** Only what the first look finds came from the cache. */
  noteCached(tokens: number): void {
    this.#cachedTokens ??= tokens;
  }

  usage({ prefix, suffix, truncatedTokens }: Prompt): Omit<Usage, 'completionTokens'> {
    return {
      promptTokens: prefix.length + suffix.length,
      cachedTokens: this.#cachedTokens ?? 0,
      truncatedTokens,
      steps: this.steps,
      slotEvaluations: this.#slotEvaluations,
      cpuMs: this.#cpuMs,
      prefillMs: this.#prefillMs,
    };
  }
}
