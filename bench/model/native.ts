/**
 * The runtime against the figures of a native one: prefill, autoregressive decoding, and completions of 16 tokens after
 * 512 cached tokens, for the bundled model and for random weights in the shapes of `nano` and `small`.
 *
 * Run: `npm run build:kernels`, then `node bench/model/native.ts [rounds]` (Node 24 or later). Figures are CPU time,
 * with interleaved rounds. The native figures are of llama.cpp on one core of an AVX2 machine without VNNI, with an
 * autoregressive model of the same shape and 4-bit random weights; llama.cpp is not run here. The number of diffusion
 * steps depends on the weights, so both extremes are measured on canvases of two slots: every pass reveals both slots,
 * or one.
 */

import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseConfig } from '../../src/denoiser/three-stream/config.ts';
import { Denoiser } from '../../src/denoiser/three-stream/denoiser.ts';
import { PREFILL_CHUNK_TOKENS } from '../../src/denoiser/transformer/memory.ts';
import type { GenerateRequest } from '../../src/engine/types.ts';
import { loadTokenizer } from '../../src/tokenizer/tokenizer.ts';
import { decodeAutoregressive } from '../../support/autoregressive-decoding.ts';
import { benchModules, complete, MODEL_FOLDER, openEngine, openModelWeights, readModelJson } from '../engine.ts';
import { withProcessorMs } from '../processor-time.ts';
import { median } from '../statistics.ts';
import { writeRandomModel } from './random-model.ts';

const CONTEXT_TOKENS = 512;
const COMPLETION_TOKENS = 16;
const WARM_UP_RUNS = 5;
/** Room for one context of each stream, and for those of a completion. */
const CACHE_BYTES = 48 * 2 ** 20;

/** Tokens a second, and milliseconds of 16 tokens. */
const MARKS = {
  nano: { read: 5500, decode: 1400, completionMs: 11 },
  small: { read: 930, decode: 240, completionMs: 67 },
} as const;

const CANVAS = { canvasWidth: 2 };
/** Ways to decode a completion. */
const WAYS = {
  bothSlots: { ...CANVAS, revealThreshold: 1e-6 },
  oneSlot: { ...CANVAS, revealThreshold: 1 },
  leftToRight: { decoding: 'autoregressive' },
} as const satisfies Record<string, Partial<GenerateRequest>>;

type Way = keyof typeof WAYS;

function byWay<T>(make: (way: Way) => T): Record<Way, T> {
  const ways = Object.keys(WAYS) as Way[];
  return Object.fromEntries(ways.map((way) => [way, make(way)])) as Record<Way, T>;
}

/**
 * Random weights of `small` predict ids that its tokenizer (that of `nano`) does not have: they give no text, so steps
 * count.
 */
interface Completed {
  readonly ms: number;
  readonly tokens: number;
  readonly steps: number;
  readonly slotEvaluations: number;
}

export interface NativeRow {
  readonly model: string;
  readonly shape: keyof typeof MARKS;
  /** Tokens a second of CPU time, from medians: prefill, and one row at a time. */
  readonly read: number;
  readonly decode: number;
  /** CPU milliseconds of a whole completion of at most 16 tokens with a cached context, medians; and its size. */
  readonly completions: Readonly<Record<Way, Completed>>;
}

async function benchFolder(model: string, shape: NativeRow['shape'], folder: URL, rounds: number): Promise<NativeRow> {
  const config = parseConfig(readModelJson('config.json', folder));
  const openWeights = () => openModelWeights(folder);
  const denoiser = await Denoiser.load({ modules: benchModules(), config, openWeights, cacheBytes: 0 });
  const engine = await openEngine(folder, { cacheBytes: CACHE_BYTES });
  const tokenizer = loadTokenizer(readModelJson('tokenizer.json', folder));
  const source = readFileSync(new URL('../../src/denoiser/three-stream/forward.ts', import.meta.url), 'utf8').repeat(2);
  const tokens = tokenizer.encode(source).slice(0, CONTEXT_TOKENS);
  const context = denoiser.prefixContexts[0]!;
  const request = { prefix: tokenizer.decode(tokens), suffix: '', maxTokens: COMPLETION_TOKENS };

  const read = () => {
    context.truncate(0);
    while (context.length < tokens.length) {
      denoiser.extend(context, tokens.slice(context.length, context.length + PREFILL_CHUNK_TOKENS));
    }
  };
  const decode = () => {
    // Some weights end earlier: the end counts as a token, because it is computed like one.
    const written = decodeAutoregressive(denoiser, context, tokens, COMPLETION_TOKENS, tokenizer.special).length;
    return Math.min(written + 1, COMPLETION_TOKENS);
  };
  let decoded = 0;
  const written: Partial<Record<Way, Omit<Completed, 'ms'>>> = {};
  const completion = (way: Way) => async () => {
    const { usage } = await complete(engine, { ...request, ...WAYS[way] });
    const { completionTokens: tokens, steps, slotEvaluations } = usage;
    written[way] = { tokens, steps, slotEvaluations };
  };
  const jobs = {
    read,
    decode: () => {
      decoded = decode();
    },
    ...byWay(completion),
  };
  const samples: Record<keyof typeof jobs, number[]> = { read: [], decode: [], ...byWay((): number[] => []) };
  for (let round = -WARM_UP_RUNS; round < rounds; round++) {
    for (const [name, work] of Object.entries(jobs) as [keyof typeof jobs, () => unknown][]) {
      const [, ms] = await withProcessorMs(work);
      if (round >= 0) samples[name].push(ms);
    }
  }
  return {
    model,
    shape,
    read: (1000 * tokens.length) / median(samples.read),
    decode: (1000 * decoded) / median(samples.decode),
    completions: byWay((way) => ({ ms: median(samples[way]), ...written[way]! })),
  };
}

export async function benchNative(rounds = 15): Promise<NativeRow[]> {
  const rows = [await benchFolder('nano', 'nano', MODEL_FOLDER, rounds)];
  for (const [model, shape] of [
    ['nano-random', 'nano'],
    ['small', 'small'],
  ] as const) {
    const folder = await mkdtemp(join(tmpdir(), 'quicksilver-native-'));
    try {
      await writeRandomModel(folder, model, model);
      const name = model === 'small' ? 'small, random' : 'nano, random';
      rows.push(await benchFolder(name, shape, pathToFileURL(`${folder}/`), rounds));
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }
  return rows;
}

function formatCompleted({ ms, tokens, steps, slotEvaluations }: Completed): string {
  return `${ms.toFixed(1)} ms, ${tokens} tokens, ${steps} steps, ${slotEvaluations} slot evaluations`;
}

export function formatNative(rows: readonly NativeRow[]): string {
  const lines = rows.map(({ model, shape, read, decode, completions }) => {
    const marks = MARKS[shape];
    const { bothSlots, oneSlot, leftToRight } = completions;
    return [
      model.padEnd(14),
      `reads ${read.toFixed(0)} tokens/s (mark ${marks.read})`,
      `decodes ${decode.toFixed(0)} (mark ${marks.decode})`,
      `diffusion, two slots a pass ${formatCompleted(bothSlots)}`,
      `one slot a pass ${formatCompleted(oneSlot)}`,
      `left to right ${formatCompleted(leftToRight)} (mark ${marks.completionMs} ms)`,
    ].join('  ');
  });
  return [`${CONTEXT_TOKENS} tokens of context, CPU time; marks: llama.cpp, native, another machine`, ...lines].join(
    '\n',
  );
}

if (import.meta.main) {
  const rows = await benchNative(Number(process.argv[2] ?? 15));
  console.log(`${formatNative(rows)}\n`);
  console.log(JSON.stringify({ native: rows }));
}
