/**
 * CPU milliseconds of one pass of the bundled models by its rows: a canvas alone, a canvas between full contexts, and
 * tokens read after one token.
 *
 * Run: `npm run build:kernels`, then `node bench/model/passes.ts [rounds] [models]` (Node 24 or later). Figures are CPU
 * time, with interleaved rounds.
 */

import { parseConfig } from '../../src/denoiser/three-stream/config.ts';
import { Denoiser } from '../../src/denoiser/three-stream/denoiser.ts';
import type { KvCache } from '../../src/denoiser/three-stream/kv-cache.ts';
import { PREFILL_CHUNK_TOKENS } from '../../src/denoiser/transformer/memory.ts';
import { benchModules, openModelWeights, readModelJson } from '../engine.ts';
import { processorMsOf } from '../processor-time.ts';
import { median } from '../statistics.ts';
import { table } from '../table.ts';

const MODELS = ['small', 'nano'];
const ROUNDS = 21;
const WARM_UP_ROUNDS = 4;
const CANVAS_ROWS = [1, 2, 4, 8];
const READ_ROWS = [1, 2, 4, 8, 16, 64];
/** Room for three contexts of any of the models. */
const CACHE_BYTES = 60 * 2 ** 20;

export interface PassRow {
  readonly model: string;
  readonly pass: string;
  /** CPU milliseconds, median and least. */
  readonly ms: number;
  readonly leastMs: number;
}

async function benchModel(model: string, rounds: number): Promise<PassRow[]> {
  const folder = new URL(`../../models/${model}/`, import.meta.url);
  const config = parseConfig(readModelJson('config.json', folder));
  const openWeights = () => openModelWeights(folder);
  const denoiser = await Denoiser.load({ modules: benchModules(), config, openWeights, cacheBytes: CACHE_BYTES });
  const { prefixTokens, suffixTokens } = config.diffusion;
  const ids = (count: number) => Array.from({ length: count }, (_, index) => (7 * index) % config.vocabSize);
  const fill = (context: KvCache, tokens: number) => {
    while (context.length < tokens) {
      denoiser.extend(context, ids(Math.min(PREFILL_CHUNK_TOKENS, tokens - context.length)));
    }
    return context;
  };
  const [short, prefix] = [fill(denoiser.prefixContexts[0]!, 1), fill(denoiser.prefixContexts[1]!, prefixTokens)];
  const suffix = fill(denoiser.suffixContexts[0]!, suffixTokens);
  const jobs: { pass: string; run: () => void; samples: number[] }[] = [];
  const job = (pass: string, run: () => void) => jobs.push({ pass, run, samples: [] });
  for (const rows of CANVAS_ROWS) job(`canvas of ${rows}`, () => denoiser.evaluate(short, undefined, ids(rows), rows));
  for (const rows of CANVAS_ROWS) {
    const pass = `canvas of ${rows} between ${prefixTokens} and ${suffixTokens} tokens`;
    job(pass, () => denoiser.evaluate(prefix, suffix, ids(rows), rows));
  }
  for (const rows of READ_ROWS) {
    job(`${rows} tokens read`, () => {
      short.truncate(1);
      denoiser.extend(short, ids(rows));
    });
  }
  for (let round = -WARM_UP_ROUNDS; round < rounds; round++) {
    for (const { run, samples } of round % 2 === 0 ? jobs : [...jobs].reverse()) {
      // Without the canvas and the tokens of the pass before.
      short.truncate(1);
      const ms = processorMsOf(run);
      if (round >= 0) samples.push(ms);
    }
  }
  return jobs.map(({ pass, samples }) => ({ model, pass, ms: median(samples), leastMs: Math.min(...samples) }));
}

export async function benchPasses(rounds = ROUNDS, models: readonly string[] = MODELS): Promise<PassRow[]> {
  const rows: PassRow[] = [];
  for (const model of models) rows.push(...(await benchModel(model, rounds)));
  return rows;
}

export function formatPasses(rows: readonly PassRow[]): string {
  return table(
    rows.map(({ model, pass, ms, leastMs }) => ({
      model,
      pass,
      'CPU ms': ms.toFixed(2),
      least: leastMs.toFixed(2),
    })),
  );
}

if (import.meta.main) {
  const [rounds, models] = process.argv.slice(2);
  const rows = await benchPasses(rounds ? Number(rounds) : ROUNDS, models?.split(','));
  console.log(`${formatPasses(rows)}\n`);
  console.log(JSON.stringify({ passes: rows }));
}
