/**
 * Completions per second of processor time with several clients typing at once: batched steps against a pass for each.
 * In one process and without the HTTP service, so that the ratio is that of the engine.
 *
 * Run: `npm run build:kernels`, then `node bench/model/concurrency.ts [rounds]` (Node 24 or later; needs the npm
 * registry the first time).
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Engine } from '../../src/engine/types.ts';
import { complete, MODEL_FOLDER, openEngine } from '../engine.ts';
import { heldOutPackages } from '../quality/held-out.ts';
import { writeRandomModel } from './random-model.ts';
import { type KeyStroke, recordSession } from './typing.ts';

/**
 * `small` has random weights: its text has no meaning, it reveals one token a step, and it costs as much as trained
 * ones.
 */
const MODELS = {
  nano: { clients: [1, 4, 8, 16], keysOfAClient: 8 },
  small: { clients: [1, 4, 8], keysOfAClient: 2 },
} as const;

type ModelName = keyof typeof MODELS;

const MAX_TOKENS = 16;
const ROUNDS = 5;
/** Room for the contexts of 16 clients: this compares steps, not eviction. */
const CACHE_BYTES = 96 * 2 ** 20;

export interface ConcurrencyRow {
  readonly model: ModelName;
  readonly clients: number;
  /** Completions per second of processor time, median over the rounds. */
  readonly apart: number;
  readonly shared: number;
  /** Median of the ratios of consecutive rounds. */
  readonly ratio: number;
}

/** All clients type at once. Returns the CPU milliseconds, and records the completions. */
async function round(
  engine: Engine,
  clients: readonly (readonly KeyStroke[])[],
): Promise<{ ms: number; texts: string[] }> {
  const start = process.cpuUsage();
  const texts = await Promise.all(
    clients.map(async (strokes) => {
      const said: string[] = [];
      for (const { prefix, suffix } of strokes) {
        said.push((await complete(engine, { prefix, suffix, maxTokens: MAX_TOKENS })).text);
      }
      return said.join('\0');
    }),
  );
  const { user, system } = process.cpuUsage(start);
  return { ms: (user + system) / 1000, texts };
}

/** Throws when a completion depends on the other requests in its batch. */
export async function benchConcurrency(rounds = ROUNDS): Promise<ConcurrencyRow[]> {
  const folder = mkdtempSync(join(tmpdir(), 'quicksilver-small-'));
  try {
    await writeRandomModel(folder, 'small', 'small');
    const small = await benchModel('small', pathToFileURL(`${folder}/`), rounds);
    return [...(await benchModel('nano', MODEL_FOLDER, rounds)), ...small];
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function benchModel(model: ModelName, folder: URL, rounds: number): Promise<ConcurrencyRow[]> {
  const { clients: counts, keysOfAClient } = MODELS[model];
  const engines = [
    await openEngine(folder, { cacheBytes: CACHE_BYTES, requestsPerPass: 1 }),
    await openEngine(folder, { cacheBytes: CACHE_BYTES }),
  ] as const;
  const packages = heldOutPackages('validation');
  const most = Math.max(...counts);
  const all = Array.from({ length: most }, (_, client) => recordSession(packages, keysOfAClient, client + 1));
  const rows: ConcurrencyRow[] = [];
  for (const clients of counts) {
    const typing = all.slice(0, clients);
    const completions = clients * keysOfAClient;
    for (const engine of engines) await round(engine, typing);
    const samples: { apart: number; shared: number }[] = [];
    for (let n = 0; n < rounds; n++) {
      const order = n % 2 === 0 ? [0, 1] : [1, 0];
      const found = new Map<number, { ms: number; texts: string[] }>();
      for (const index of order) found.set(index, await round(engines[index]!, typing));
      const [apart, shared] = [found.get(0)!, found.get(1)!];
      if (apart.texts.join('\n') !== shared.texts.join('\n')) throw new Error('a completion depends on its neighbours');
      samples.push({ apart: (1000 * completions) / apart.ms, shared: (1000 * completions) / shared.ms });
    }
    const median = (value: (sample: (typeof samples)[number]) => number) =>
      samples.map(value).sort((a, b) => a - b)[Math.floor(rounds / 2)]!;
    rows.push({
      model,
      clients,
      apart: median(({ apart }) => apart),
      shared: median(({ shared }) => shared),
      ratio: median(({ apart, shared }) => shared / apart),
    });
  }
  return rows;
}

export function formatConcurrency(rows: readonly ConcurrencyRow[]): string {
  const lines = rows.map(
    ({ model, clients, apart, shared, ratio }) =>
      `| ${model} | ${clients} | ${apart.toFixed(1)} | ${shared.toFixed(1)} | ${ratio.toFixed(2)} |`,
  );
  return [
    '| model | clients | a pass each: completions/CPU s | shared passes | ratio |',
    '| --- | --- | --- | --- | --- |',
    ...lines,
  ].join('\n');
}

if (import.meta.main) {
  const rows = await benchConcurrency(Number(process.argv[2] ?? ROUNDS));
  console.log(`${formatConcurrency(rows)}\n`);
  console.log(JSON.stringify(rows));
}
