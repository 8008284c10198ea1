/**
 * Milliseconds of the denoiser on one core: a step of a full canvas, prefill, autoregressive decoding with the same
 * weights, and whole completions: cold, repeated, and after a key stroke.
 *
 * Run: `npm run build:kernels`, then `node bench/model/denoiser.ts [rounds]` (Node 24 or later). Figures are CPU time
 * with the bundled model.
 */

import { createReadStream, readFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import { parseConfig } from '../../src/denoiser/three-stream/config.ts';
import { Denoiser } from '../../src/denoiser/three-stream/denoiser.ts';
import type { KvCache } from '../../src/denoiser/three-stream/kv-cache.ts';
import type { KernelBuild, KernelModules } from '../../src/denoiser/transformer/kernels.ts';
import { PREFILL_CHUNK_TOKENS } from '../../src/denoiser/transformer/memory.ts';
import { loadTokenizer } from '../../src/tokenizer/tokenizer.ts';
import { decodeAutoregressive } from '../../support/autoregressive-decoding.ts';
import { complete, MODEL_FOLDER, openBundledEngine, readModelJson } from '../engine.ts';
import { withProcessorMs } from '../processor-time.ts';
import { median, quantile } from '../statistics.ts';

const CONTEXT_TOKENS = 512;
const COMPLETION_TOKENS = 16;
const CACHE_BYTES = 48 * 2 ** 20;
/** Warm-up runs, which are not counted: the optimizing compiler replaces the first code meanwhile. */
const WARM_UP_RUNS = 20;

export interface DenoiserRow {
  readonly what: string;
  readonly build: KernelBuild;
  /** CPU milliseconds. */
  readonly median: number;
  readonly p90: number;
  /** Denoising steps of a completion. */
  readonly steps?: number;
}

const NAME = 'nano';
const config = parseConfig(readModelJson('config.json'));
const openWeights = async () =>
  Readable.toWeb(createReadStream(new URL('model.safetensors', MODEL_FOLDER))) as ReadableStream<Uint8Array>;

function modules(build: KernelBuild): KernelModules {
  const compile = (name: KernelBuild) =>
    new WebAssembly.Module(readFileSync(new URL(`../../build/kernels.${name}.wasm`, import.meta.url)));
  return build === 'simd' ? { simd: compile('simd') } : { simd: compile('simd'), relaxed: compile('relaxed') };
}

/** Source text, repeated to be long enough. */
const source = readFileSync(new URL('../../src/denoiser/three-stream/forward.ts', import.meta.url), 'utf8').repeat(4);

async function sample(runs: number, work: (run: number) => unknown): Promise<{ median: number; p90: number }> {
  const samples: number[] = [];
  for (let run = 0; run < runs; run++) {
    const [, ms] = await withProcessorMs(() => work(run));
    samples.push(ms);
  }
  return { median: median(samples), p90: quantile(samples, 0.9) };
}

function fill(denoiser: Denoiser, context: KvCache, tokens: readonly number[]): void {
  context.truncate(0);
  while (context.length < tokens.length) {
    denoiser.extend(context, tokens.slice(context.length, context.length + PREFILL_CHUNK_TOKENS));
  }
}

/** Steps, prefill and autoregressive decoding of one build. */
async function benchPasses(build: KernelBuild, rounds: number): Promise<DenoiserRow[]> {
  const denoiser = await Denoiser.load({ modules: modules(build), config, openWeights, cacheBytes: 0 });
  const tokenizer = loadTokenizer(readModelJson('tokenizer.json'));
  const tokens = tokenizer.encode(source).slice(0, CONTEXT_TOKENS);
  const [prefix, suffix] = [denoiser.prefixContexts[0]!, denoiser.suffixContexts[0]!];
  const { canvasSlots } = denoiser.config.diffusion;
  const canvas = new Int32Array(canvasSlots).fill(tokenizer.special.mask);
  const rows: DenoiserRow[] = [];
  const row = async (what: string, work: () => unknown, per = 1) => {
    for (let run = 0; run < WARM_UP_RUNS; run++) work();
    const { median, p90 } = await sample(rounds, work);
    rows.push({ what, build, median: median / per, p90: p90 / per });
  };

  await row(`reading ${tokens.length} tokens`, () => fill(denoiser, prefix, tokens));
  await row(`step, ${canvasSlots} slots after ${tokens.length} tokens`, () =>
    denoiser.evaluate(prefix, undefined, canvas, canvasSlots),
  );
  const right = Math.min(CONTEXT_TOKENS / 2, denoiser.config.diffusion.suffixTokens);
  fill(denoiser, prefix, tokens.slice(0, CONTEXT_TOKENS - right));
  fill(denoiser, suffix, tokens.slice(CONTEXT_TOKENS - right));
  await row(`step, ${canvasSlots} slots between ${CONTEXT_TOKENS - right} and ${right} tokens`, () =>
    denoiser.evaluate(prefix, suffix, canvas, canvasSlots),
  );
  fill(denoiser, prefix, tokens);
  await row(
    `autoregressive token after ${tokens.length} tokens`,
    () => {
      // The prompt except its last token stays cached: only decoding is timed.
      prefix.truncate(tokens.length);
      decodeAutoregressive(denoiser, prefix, tokens, COMPLETION_TOKENS, tokenizer.special);
    },
    COMPLETION_TOKENS,
  );
  return rows;
}

/** Whole completions in the middle of a file: about half of the context on either side. */
async function benchCompletions(build: KernelBuild, rounds: number): Promise<DenoiserRow[]> {
  const engine = await openBundledEngine({ cacheBytes: CACHE_BYTES });
  const rows: DenoiserRow[] = [];
  const row = async (what: string, text: (run: number) => { prefix: string; suffix: string }) => {
    let steps = 0;
    const work = async (run: number) => {
      steps += (await complete(engine, { ...text(run), maxTokens: COMPLETION_TOKENS })).usage.steps;
    };
    for (let run = 0; run < WARM_UP_RUNS; run++) await work(run);
    steps = 0;
    const { median, p90 } = await sample(rounds, (run) => work(WARM_UP_RUNS + run));
    rows.push({ what, build, median, p90, steps: steps / rounds });
  };
  const around = (cursor: number) => ({
    prefix: source.slice(cursor - 900, cursor),
    suffix: source.slice(cursor, cursor + 900),
  });
  // 37 characters further each time: the cache finds another text from the first token on.
  await row('completion, cold', (run) => around(1000 + 37 * run));
  await row('completion, the same again', () => around(2000));
  const { prefix, suffix } = around(2000);
  await row('completion, a character typed', (run) => ({
    prefix: prefix + 'function'.slice(0, 1 + (run % 8)),
    suffix,
  }));
  return rows;
}

export async function benchDenoiser(rounds = 41): Promise<{ model: string; rows: DenoiserRow[] }> {
  const rows = [
    ...(await benchPasses('relaxed', rounds)),
    ...(await benchPasses('simd', rounds)),
    ...(await benchCompletions('relaxed', rounds)),
  ];
  return { model: NAME, rows };
}

export function formatDenoiser({ model, rows }: { model: string; rows: readonly DenoiserRow[] }): string {
  const lines = rows.map(({ what, build, median, p90, steps }) => {
    const figures = `${median.toFixed(2)}/${p90.toFixed(2)}`.padStart(16);
    return `${what.padEnd(44)}${build.padEnd(9)}${figures}${steps === undefined ? '' : `  ${steps.toFixed(1)} steps`}`;
  });
  return [`CPU ms, median/p90 (${model}; completions of at most ${COMPLETION_TOKENS} tokens)`, ...lines].join('\n');
}

if (import.meta.main) {
  const result = await benchDenoiser(Number(process.argv[2] ?? 41));
  console.log(formatDenoiser(result));
  console.log(JSON.stringify(result));
}
