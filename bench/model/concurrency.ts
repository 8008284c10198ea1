/**
 * Completions per second of processor time with several clients typing at once: batched steps against a pass for each,
 * and more clients against one. In one process and without the HTTP service, with the memory that the service has, so
 * that the figures are those of the engine: passes, admission and eviction of contexts.
 *
 * Run: `npm run build:kernels`, then `node bench/model/concurrency.ts [rounds] [models] [clients] [keys]`, as in
 * `1 small 8,32 24` (Node 24 or later; needs the npm registry the first time). Times are processor time of the process:
 * that of a key is what the process has computed, for whomever, from its request to its answer.
 */

import type { Engine } from '../../src/engine/types.ts';
import { complete, openEngine } from '../engine.ts';
import { heldOutPackages } from '../quality/held-out.ts';
import { table } from '../table.ts';
import { type KeyStroke, recordSession } from './typing.ts';

/** Every client types at a place of its own; all read the whole window of `small`, where a place has it. */
const MODELS = {
  nano: { clients: [1, 4, 8, 16], keysOfAClient: 8 },
  small: { clients: [1, 4, 8], keysOfAClient: 12 },
} as const;

type ModelName = keyof typeof MODELS;

const MAX_TOKENS = 16;
const ROUNDS = 3;
/** Keys that record one place of a file, see typing.ts. */
const KEYS_OF_A_PLACE = 48;

export interface ConcurrencyRow {
  readonly model: ModelName;
  readonly clients: number;
  readonly keysOfAClient: number;
  /** Completions per second of processor time, median over the rounds. */
  readonly apart: number;
  readonly shared: number;
  /** Median of the ratios of consecutive rounds. */
  readonly ratio: number;
  /** Of the shared rounds: processor milliseconds from a request to its answer, over all keys. */
  readonly p50Ms: number;
  readonly p95Ms: number;
  readonly maxMs: number;
  /** Tokens of context that were computed, a key. */
  readonly read: number;
}

interface Round {
  /** Completions per second of processor time. */
  readonly rate: number;
  readonly texts: readonly string[];
  readonly keyMs: readonly number[];
  readonly read: number;
}

function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** All clients type at once. */
async function round(engine: Engine, clients: readonly (readonly KeyStroke[])[]): Promise<Round> {
  const startMs = cpuMs();
  const keyMs: number[] = [];
  let read = 0;
  const texts = await Promise.all(
    clients.map(async (strokes) => {
      const said: string[] = [];
      for (const { prefix, suffix } of strokes) {
        const keyStartMs = cpuMs();
        const { text, usage } = await complete(engine, { prefix, suffix, maxTokens: MAX_TOKENS });
        keyMs.push(cpuMs() - keyStartMs);
        read += usage.promptTokens - usage.cachedTokens;
        said.push(text);
      }
      return said.join('\0');
    }),
  );
  return { rate: (1000 * keyMs.length) / (cpuMs() - startMs), texts, keyMs, read: read / keyMs.length };
}

function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]!;
}

export interface ConcurrencyOptions {
  readonly rounds?: number;
  readonly models?: readonly ModelName[];
  /** Clients of every model, and keys of each client, instead of its own. */
  readonly clients?: readonly number[] | undefined;
  readonly keys?: number | undefined;
}

/** Throws when a completion depends on the other requests in its batch. */
export async function benchConcurrency({
  rounds = ROUNDS,
  models = Object.keys(MODELS) as ModelName[],
  clients,
  keys,
}: ConcurrencyOptions = {}): Promise<ConcurrencyRow[]> {
  const rows: ConcurrencyRow[] = [];
  for (const model of models) {
    const { clients: counts, keysOfAClient } = MODELS[model];
    rows.push(...(await benchModel(model, clients ?? counts, keys ?? keysOfAClient, rounds)));
  }
  return rows;
}

async function benchModel(
  model: ModelName,
  counts: readonly number[],
  keysOfAClient: number,
  rounds: number,
): Promise<ConcurrencyRow[]> {
  const folder = new URL(`../../models/${model}/`, import.meta.url);
  const engines = [await openEngine(folder, { requestsPerPass: 1 }), await openEngine(folder, {})] as const;
  const packages = heldOutPackages('validation');
  const all = recordSession(packages, Math.max(...counts) * KEYS_OF_A_PLACE);
  const rows: ConcurrencyRow[] = [];
  for (const clients of counts) {
    const typing = Array.from({ length: clients }, (_, client) =>
      all.slice(client * KEYS_OF_A_PLACE, client * KEYS_OF_A_PLACE + keysOfAClient),
    );
    // Reads the contexts, as far as they can stay.
    for (const engine of engines) await round(engine, typing);
    const samples: { apart: Round; shared: Round }[] = [];
    for (let n = 0; n < rounds; n++) {
      const order = n % 2 === 0 ? [0, 1] : [1, 0];
      const found = new Map<number, Round>();
      for (const index of order) found.set(index, await round(engines[index]!, typing));
      const [apart, shared] = [found.get(0)!, found.get(1)!];
      if (apart.texts.join('\n') !== shared.texts.join('\n')) throw new Error('a completion depends on its neighbours');
      samples.push({ apart, shared });
    }
    const median = (value: (sample: (typeof samples)[number]) => number) => quantile(samples.map(value), 0.5);
    const keyMs = samples.flatMap(({ shared }) => shared.keyMs);
    rows.push({
      model,
      clients,
      keysOfAClient,
      apart: median(({ apart }) => apart.rate),
      shared: median(({ shared }) => shared.rate),
      ratio: median(({ apart, shared }) => shared.rate / apart.rate),
      p50Ms: quantile(keyMs, 0.5),
      p95Ms: quantile(keyMs, 0.95),
      maxMs: Math.max(...keyMs),
      read: median(({ shared }) => shared.read),
    });
  }
  return rows;
}

export function formatConcurrency(rows: readonly ConcurrencyRow[]): string {
  return table(
    rows.map((row) => {
      const one = rows.find(({ model, clients }) => model === row.model && clients === 1);
      return {
        model: row.model,
        clients: row.clients,
        'keys each': row.keysOfAClient,
        'a pass each: completions/CPU s': row.apart.toFixed(1),
        'shared passes': row.shared.toFixed(1),
        ratio: row.ratio.toFixed(2),
        'to one client': one ? (row.shared / one.shared).toFixed(2) : '',
        'CPU ms p50': row.p50Ms.toFixed(0),
        p95: row.p95Ms.toFixed(0),
        max: row.maxMs.toFixed(0),
        'tokens read a key': row.read.toFixed(1),
      };
    }),
  );
}

if (import.meta.main) {
  const [rounds, models, clients, keys] = process.argv.slice(2);
  const rows = await benchConcurrency({
    ...(rounds && { rounds: Number(rounds) }),
    ...(models && { models: models.split(',') as ModelName[] }),
    clients: clients?.split(',').map(Number),
    keys: keys === undefined ? undefined : Number(keys),
  });
  console.log(`${formatConcurrency(rows)}\n`);
  console.log(JSON.stringify(rows));
}
