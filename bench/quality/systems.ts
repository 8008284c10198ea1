/**
 * Completes examples with several systems on the kernels of the runtime: diffusion with any settings of a request, the
 * same weights decoded autoregressively (they see only the prefix), and an autoregressive fill-in-the-middle model
 * (training/evaluation/fim_baseline.py). training/evaluation/compare.py calls it, draws the examples and scores the
 * completions.
 *
 * Run: `npm run build:kernels`, then
 * `node bench/quality/systems.ts --model models/nano --fim training/.runs/fim/model --settings settings.json --examples
 * examples.jsonl` (Node 24 or later). Writes one JSON line to the standard output for each example and setting. Times
 * are processor time of this process: `promptMs` for the prefill, `decodeMs` for everything after it.
 */

import { createReadStream, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { parseArgs } from 'node:util';
import * as z from 'zod';
import { type DenoiserConfig, parseConfig } from '../../src/denoiser/three-stream/config.ts';
import { Denoiser } from '../../src/denoiser/three-stream/denoiser.ts';
import type { KernelBuild } from '../../src/denoiser/transformer/kernels.ts';
import { PREFILL_CHUNK_TOKENS } from '../../src/denoiser/transformer/memory.ts';
import { createEngine } from '../../src/engine/create.ts';
import { buildPrompt } from '../../src/engine/three-stream/prompt.ts';
import type { Completion, Engine, EngineParts, Frame, GenerateRequest } from '../../src/engine/types.ts';
import { loadTokenizer, type Tokenizer } from '../../src/tokenizer/tokenizer.ts';
import { withProcessorMs } from '../processor-time.ts';

/** Far more than one full context of a small model. */
const CACHE_BYTES = 48 * 2 ** 20;
/** Warm-up examples, which are not counted: the optimizing compiler replaces the first code meanwhile. */
const WARM_UP_EXAMPLES = 3;

const exampleSchema = z.object({
  prefix: z.string(),
  middle: z.string(),
  suffix: z.string(),
  /** Whether all completions end with their first line. Otherwise autoregressive decoders are given the true length. */
  line: z.boolean(),
});

const settingSchema = z.object({
  system: z.enum(['diffusion', 'ar', 'fim']),
  /** Fields of the engine's request, for diffusion. */
  request: z
    .object({
      maxSteps: z.exactOptional(z.int()),
      revealThreshold: z.exactOptional(z.number()),
      editThreshold: z.exactOptional(z.number()),
      canvasWidth: z.exactOptional(z.int()),
      freezeAfter: z.exactOptional(z.int()),
    })
    .default({}),
  /** Whether diffusion is given the true number of tokens, as decoders that cannot predict the end are. */
  givenLength: z.boolean().default(false),
  /** Whether every denoising step is recorded, slot by slot. */
  frames: z.boolean().default(false),
});

const settingsSchema = z.object({ maxTokens: z.int(), settings: z.array(settingSchema) });

type Example = z.output<typeof exampleSchema>;
type Setting = z.output<typeof settingSchema>;

interface Found {
  text: string;
  /** Emitted tokens, an end token included. */
  tokens: number;
  steps: number;
  slotEvaluations: number;
  promptMs: number;
  decodeMs: number;
  frames?: Frame[];
}

function refusing(ids: readonly number[]): Map<number, number> {
  return new Map(ids.map((id) => [id, Number.NEGATIVE_INFINITY]));
}

function readModel(folder: string): EngineParts {
  const json = (file: string): unknown => JSON.parse(readFileSync(join(folder, file), 'utf8'));
  const kernels = (build: KernelBuild) =>
    new WebAssembly.Module(readFileSync(new URL(`../../build/kernels.${build}.wasm`, import.meta.url)));
  return {
    model: { id: folder, created: 0 },
    kernels: { simd: kernels('simd'), relaxed: kernels('relaxed') },
    config: json('config.json'),
    tokenizer: json('tokenizer.json'),
    openWeights: async () =>
      Readable.toWeb(createReadStream(join(folder, 'model.safetensors'))) as ReadableStream<Uint8Array>,
    limits: { cacheBytes: CACHE_BYTES },
  };
}

/** A model as the service runs it: by diffusion, or from left to right without the suffix. */
class Served {
  readonly #engine: Engine;
  readonly #tokenizer: Tokenizer;

  constructor(engine: Engine, tokenizer: Tokenizer) {
    this.#engine = engine;
    this.#tokenizer = tokenizer;
  }

  /** The first call for an example computes the context; the others find it in the cache. */
  async complete(example: Example, most: number, { request, givenLength, frames }: Setting): Promise<Found> {
    const maxTokens = givenLength ? this.#tokenizer.encode(example.middle).length : most;
    const length = givenLength ? { logitBias: this.#noEnd() } : {};
    const [, promptMs] = await withProcessorMs(() => this.#generate(example, { maxTokens: 0 }));
    const shown: Frame[] = [];
    const [{ text, finishReason, usage }, decodeMs] = await withProcessorMs(() =>
      this.#generate(example, { ...request, ...length, maxTokens, showCanvas: frames }, frames ? shown : undefined),
    );
    const { completionTokens, steps, slotEvaluations } = usage;
    const tokens = completionTokens + (finishReason === 'stop' ? 1 : 0);
    return { text, tokens, steps, slotEvaluations, promptMs, decodeMs, ...(frames && { frames: shown }) };
  }

  /**
   * The same weights from left to right: lines end with the line, other spans after the true number of tokens. Only
   * the end of a text is predicted, and the end of a middle is refused: this decoder does not know where one is.
   */
  async decode(example: Example, most: number): Promise<Found> {
    const maxTokens = example.line ? most : this.#tokenizer.encode(example.middle).length;
    const alone = { ...example, suffix: '' };
    const { eom, pad } = this.#tokenizer.special;
    const options = { decoding: 'autoregressive', logitBias: refusing([eom, pad]) } as const;
    const [, promptMs] = await withProcessorMs(() => this.#generate(alone, { maxTokens: 0 }));
    const [{ text, usage }, decodeMs] = await withProcessorMs(() => this.#generate(alone, { ...options, maxTokens }));
    const { steps, slotEvaluations } = usage;
    return { text, tokens: steps, steps, slotEvaluations, promptMs, decodeMs };
  }

  #noEnd(): Map<number, number> {
    const { eom, endOfText, pad } = this.#tokenizer.special;
    return refusing([eom, endOfText, pad]);
  }

  async #generate(
    { prefix, suffix, line }: Example,
    options: Partial<GenerateRequest>,
    frames?: Frame[],
  ): Promise<Completion> {
    const stop = line ? ['\n'] : [];
    const request = { prefix, suffix, maxTokens: 0, stop, temperature: 0, topP: 1, seed: 0, ...options };
    const generation = this.#engine.generate(request, new AbortController().signal);
    for (;;) {
      const { done, value } = await generation.next();
      if (done) return value;
      frames?.push(value);
    }
  }
}

/** A fill-in-the-middle model, greedy. */
class FillInTheMiddle {
  readonly #denoiser: Denoiser;
  readonly #tokenizer: Tokenizer;
  readonly #limits: DenoiserConfig['diffusion'];
  readonly #lineEnds: Set<number>;

  /** @param limits of the context in tokens: the same for all systems */
  constructor(denoiser: Denoiser, tokenizer: Tokenizer, limits: DenoiserConfig['diffusion']) {
    this.#denoiser = denoiser;
    this.#tokenizer = tokenizer;
    this.#limits = limits;
    const ids = [...Array(tokenizer.vocabSize).keys()];
    this.#lineEnds = new Set(ids.filter((id) => tokenizer.decode([id]).includes('\n')));
  }

  async complete(example: Example, maxTokens: number): Promise<Found> {
    const context = this.#denoiser.prefixContexts[0]!;
    const [prompt, promptMs] = await withProcessorMs(() => {
      const ids = this.#prompt(example);
      context.truncate(0);
      // Decoding the first token computes the last one.
      while (context.length < ids.length - 1) {
        const end = Math.min(context.length + PREFILL_CHUNK_TOKENS, ids.length - 1);
        this.#denoiser.extend(context, ids.slice(context.length, end));
      }
      return ids;
    });
    const [[ids, steps], decodeMs] = await withProcessorMs(() => this.#decode(prompt.at(-1)!, example, maxTokens));
    const text = this.#tokenizer.decode(ids);
    return {
      text: example.line ? text.split('\n', 1)[0]! : text,
      tokens: steps,
      steps,
      slotEvaluations: steps,
      promptMs,
      decodeMs,
    };
  }

  /** `<|prefix|> prefix`, followed by `<|suffix|> suffix <|mask|>` if there is a suffix. */
  #prompt({ prefix, suffix }: Example): number[] {
    const { special } = this.#tokenizer;
    const streams = buildPrompt({ prefix, suffix }, this.#tokenizer, this.#limits);
    const [mark, ...backwards] = streams.suffix;
    return mark === undefined ? [...streams.prefix] : [...streams.prefix, mark, ...backwards.reverse(), special.mask];
  }

  #decode(last: number, example: Example, maxTokens: number): [ids: number[], steps: number] {
    const { mask, pad, prefix, suffix, eom, endOfText } = this.#tokenizer.special;
    // A model that sees the suffix could predict the end, but with greedy decoding it ends at once: it may not end
    // either.
    const refused = new Set([mask, pad, prefix, suffix, eom]);
    const limit = example.line ? maxTokens : this.#tokenizer.encode(example.middle).length;
    const context = this.#denoiser.prefixContexts[0]!;
    const ids: number[] = [];
    let next = last;
    let steps = 0;
    while (ids.length < limit) {
      const predictions = this.#denoiser.extendAndPredict(context, [next]);
      steps++;
      next = predictions.ids.find((id) => !refused.has(id))!;
      if (next === endOfText) break;
      ids.push(next);
      if (example.line && this.#lineEnds.has(next)) break;
    }
    return [ids, steps];
  }
}

async function fillInTheMiddle(folder: string, limits: DenoiserConfig['diffusion']): Promise<FillInTheMiddle> {
  const { kernels: modules, config, tokenizer, openWeights } = readModel(folder);
  const denoiser = await Denoiser.load({ modules, config: parseConfig(config), openWeights, cacheBytes: 0 });
  return new FillInTheMiddle(denoiser, loadTokenizer(tokenizer), limits);
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      model: { type: 'string', default: 'models/nano' },
      fim: { type: 'string' },
      settings: { type: 'string' },
      examples: { type: 'string' },
    },
  });
  if (values.settings === undefined || values.examples === undefined)
    throw new Error('--settings and --examples are needed');
  const { maxTokens, settings } = settingsSchema.parse(JSON.parse(readFileSync(values.settings, 'utf8')));
  const lines = readFileSync(values.examples, 'utf8').trimEnd().split('\n');
  const examples = lines.map((line) => exampleSchema.parse(JSON.parse(line)));

  const model = readModel(resolve(values.model));
  const { diffusion: limits } = parseConfig(model.config);
  const served = new Served(await createEngine(model), loadTokenizer(model.tokenizer));
  const fim = values.fim === undefined ? undefined : await fillInTheMiddle(resolve(values.fim), limits);
  const complete = (example: Example, setting: Setting): Promise<Found> => {
    if (setting.system === 'diffusion') return served.complete(example, maxTokens, setting);
    if (setting.system === 'ar') return served.decode(example, maxTokens);
    if (fim === undefined) throw new Error('a setting of the system fim, but no --fim');
    return fim.complete(example, maxTokens);
  };

  for (const example of examples.slice(0, WARM_UP_EXAMPLES)) {
    for (const setting of settings) await complete(example, setting);
  }
  // Example by example, so that a busy machine disturbs all systems equally.
  for (const [index, example] of examples.entries()) {
    let promptMs: number | undefined;
    for (const [number, setting] of settings.entries()) {
      const found = await complete(example, setting);
      // Only the first setting of diffusion computes the context.
      if (setting.system === 'diffusion') found.promptMs = promptMs ??= found.promptMs;
      process.stdout.write(`${JSON.stringify({ example: index, setting: number, ...found })}\n`);
    }
  }
}

await main();
