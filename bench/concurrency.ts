/**
 * Completions per second of processor time with several clients typing at once: steps of all of them in shared passes, against a pass for
 * each. In one process and without the HTTP service, so that the ratio is that of the engine.
 *
 * Run: `npm run build:kernels`, then `node bench/concurrency.ts [rounds]` (Node 24 or later; needs the npm registry the first time).
 */

import type { Engine } from '../src/engine/types.ts';
import { complete, openBundledEngine } from './engine.ts';
import { heldOutPackages } from './held-out.ts';
import { type KeyStroke, recordSession } from './typing.ts';

const CLIENTS = [1, 4, 8, 16] as const;
const KEYS_OF_A_CLIENT = 8;
const MAX_TOKENS = 16;
/** The contexts of 16 clients: what is compared is steps, not eviction. */
const CACHE_BYTES = 96 * 2 ** 20;

export interface ConcurrencyRow {
  readonly clients: number;
  /** Completions per second of processor time, median over the rounds. */
  readonly apart: number;
  readonly shared: number;
  /** Median of the ratios of rounds that ran one behind the other. */
  readonly ratio: number;
}

/** All clients type at once; gives the CPU milliseconds, and notes what was said. */
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

/** Throws when a completion depends on who shares its passes. */
export async function benchConcurrency(rounds = 7): Promise<ConcurrencyRow[]> {
  const engines = [
    await openBundledEngine({ cacheBytes: CACHE_BYTES, requestsPerPass: 1 }),
    await openBundledEngine({ cacheBytes: CACHE_BYTES }),
  ] as const;
  const packages = heldOutPackages('validation');
  const most = Math.max(...CLIENTS);
  const all = Array.from({ length: most }, (_, client) => recordSession(packages, KEYS_OF_A_CLIENT, client + 1));
  const rows: ConcurrencyRow[] = [];
  for (const clients of CLIENTS) {
    const typing = all.slice(0, clients);
    const completions = clients * KEYS_OF_A_CLIENT;
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
    ({ clients, apart, shared, ratio }) =>
      `| ${clients} | ${apart.toFixed(1)} | ${shared.toFixed(1)} | ${ratio.toFixed(2)} |`,
  );
  return [
    '| clients | a pass each: completions/CPU s | shared passes | ratio |',
    '| --- | --- | --- | --- |',
    ...lines,
  ].join('\n');
}

if (import.meta.main) {
  const rows = await benchConcurrency(Number(process.argv[2] ?? 7));
  console.log(`${formatConcurrency(rows)}\n`);
  console.log(JSON.stringify(rows));
}
