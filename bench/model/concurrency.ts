/**
 * Steps per second of processor time with several clients typing at once, against the same keys of one client
 * after the other. In one process and without the HTTP service, with the memory that the service has, so that the
 * figures are those of the engine: passes, admission, windows and eviction of contexts.
 *
 * Run: `npm run build:kernels`, then `node bench/model/concurrency.ts [rounds] [models] [clients] [keys]`, as in
 * `1 small 4,8,32 24` (Node 24 or later; needs the npm registry the first time). Times are processor time of the
 * process: that of a key is what the process has computed, for whomever, from its request to its answer. No client
 * pauses between an answer and its next key.
 */

import type { Engine } from '../../src/engine/types.ts';
import { complete, openEngine } from '../engine.ts';
import { processorMs } from '../processor-time.ts';
import { heldOutPackages } from '../quality/held-out.ts';
import { median, quantile } from '../statistics.ts';
import { table } from '../table.ts';
import { type KeyStroke, recordSession } from './typing.ts';

/** Every client types at a place of its own. */
const MODELS = {
  nano: { clients: [4, 8, 32], keysOfAClient: 24 },
  small: { clients: [4, 8, 32], keysOfAClient: 24 },
} as const;

type ModelName = keyof typeof MODELS;

const MAX_TOKENS = 16;
/** As editors are served: where memory is short, from the text next to the cursor. */
const EDITOR = { maxTokens: MAX_TOKENS, nearFirst: true };
const ROUNDS = 3;
/** Keys that record one place of a file, see typing.ts. */
const KEYS_OF_A_PLACE = 48;
/** Keys that are not counted: contexts are read, and find their place in memory. */
const WARM_UP_KEYS = 4;
/** Clients whose keys are typed by one after the other: their mean does not need all. */
const MOST_ALONE = 8;

export interface ConcurrencyRow {
  readonly model: ModelName;
  readonly clients: number;
  readonly keysOfAClient: number;
  /**
   * Steps per second of processor time, median over the rounds. Completions differ in their number of steps, and those
   * of some clients more than of others.
   */
  readonly alone: number;
  readonly together: number;
  /** Median of the ratios of consecutive rounds. */
  readonly ratio: number;
  /** Processor milliseconds from a request to its answer, over all keys. */
  readonly aloneMs: Latency;
  readonly togetherMs: Latency;
  /** Tokens of context that requests of clients who type together had to compute, a key. */
  readonly read: number;
  /** Tokens of context that an answer was computed from. */
  readonly seen: number;
  /** Share of the answers of the client that got the fewest while all of them typed, of an equal share. */
  readonly fewest: number;
}

interface Latency {
  readonly p50: number;
  readonly p95: number;
  readonly max: number;
}

interface Answer {
  readonly text: string;
  /** Tokens of context. */
  readonly seen: number;
}

interface Round {
  /** Steps per second of processor time while all type. */
  readonly rate: number;
  /** Of each client. */
  readonly answers: readonly (readonly Answer[])[];
  readonly keyMs: readonly number[];
  readonly steps: number;
  readonly read: number;
  readonly fewest: number;
}

type Session = readonly KeyStroke[];

/** All clients type at once. */
async function together(engine: Engine, sessions: readonly Session[]): Promise<Round> {
  const startMs = processorMs();
  const keyMs: number[] = [];
  let read = 0;
  const answers = sessions.map((): Answer[] => []);
  let steps = 0;
  let atFirstEnd: { rate: number; counts: number[] } | undefined;
  await Promise.all(
    sessions.map(async (session, client) => {
      for (const { prefix, suffix } of session) {
        const keyStartMs = processorMs();
        const { text, usage } = await complete(engine, { prefix, suffix, ...EDITOR });
        keyMs.push(processorMs() - keyStartMs);
        steps += usage.steps;
        read += usage.promptTokens - usage.cachedTokens;
        answers[client]!.push({ text, seen: usage.promptTokens });
      }
      const rate = (1000 * steps) / (processorMs() - startMs);
      atFirstEnd ??= { rate, counts: answers.map(({ length }) => length) };
    }),
  );
  // Not part of any answer.
  await engine.readAhead;
  const { rate, counts } = atFirstEnd!;
  const mean = counts.reduce((sum, count) => sum + count, 0) / counts.length;
  return { rate, answers, keyMs, steps, read: read / keyMs.length, fewest: Math.min(...counts) / mean };
}

/** One client after the other types, each with its whole window in the cache. */
async function alone(engine: Engine, sessions: readonly Session[]): Promise<Round> {
  const rounds: Round[] = [];
  for (const session of sessions) {
    const { prefix, suffix } = session[0]!;
    await complete(engine, { prefix, suffix, maxTokens: 0 });
    rounds.push(await together(engine, [session]));
  }
  const mean = (value: (round: Round) => number) => rounds.reduce((sum, one) => sum + value(one), 0) / rounds.length;
  return {
    rate: mean(({ steps }) => steps) / mean(({ steps, rate }) => steps / rate),
    answers: rounds.flatMap(({ answers }) => answers),
    keyMs: rounds.flatMap(({ keyMs }) => keyMs),
    steps: rounds.reduce((sum, { steps }) => sum + steps, 0),
    read: mean(({ read }) => read),
    fewest: 1,
  };
}

/** Throws when answers from the same text differ. */
function compare(one: Round, other: Round): void {
  for (const [client, answers] of one.answers.entries()) {
    for (const [at, { text, seen }] of answers.entries()) {
      const { text: otherText, seen: otherSeen } = other.answers[client]![at]!;
      if (seen === otherSeen && text !== otherText) throw new Error('a completion depends on its neighbours');
    }
  }
}

function latency(values: readonly number[]): Latency {
  return { p50: median(values), p95: quantile(values, 0.95), max: Math.max(...values) };
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
  const all = recordSession(heldOutPackages('validation'), Math.max(...counts) * KEYS_OF_A_PLACE);
  const rows: ConcurrencyRow[] = [];
  for (const clients of counts) {
    const [engine, other] = [await openEngine(folder, {}), await openEngine(folder, {})];
    const place = (client: number, from: number, keys: number) => {
      const start = client * KEYS_OF_A_PLACE + from;
      return all.slice(start, start + keys);
    };
    const every = Array.from({ length: clients }, (_, client) => client);
    await together(
      engine,
      every.map((client) => place(client, 0, WARM_UP_KEYS)),
    );
    const sessions = every.map((client) => place(client, WARM_UP_KEYS, keysOfAClient));
    const samples: { one: Round; many: Round }[] = [];
    for (let n = 0; n < rounds; n++) {
      const one = await alone(other, sessions.slice(0, MOST_ALONE));
      const many = await together(engine, sessions);
      compare(one, many);
      samples.push({ one, many });
    }
    const medianOf = (value: (sample: (typeof samples)[number]) => number) => median(samples.map(value));
    const answers = samples.flatMap(({ many }) => many.answers.flat());
    rows.push({
      model,
      clients,
      keysOfAClient,
      alone: medianOf(({ one }) => one.rate),
      together: medianOf(({ many }) => many.rate),
      ratio: medianOf(({ one, many }) => many.rate / one.rate),
      aloneMs: latency(samples.flatMap(({ one }) => one.keyMs)),
      togetherMs: latency(samples.flatMap(({ many }) => many.keyMs)),
      read: medianOf(({ many }) => many.read),
      seen: answers.reduce((sum, { seen }) => sum + seen, 0) / answers.length,
      fewest: Math.min(...samples.map(({ many }) => many.fewest)),
    });
  }
  return rows;
}

export function formatConcurrency(rows: readonly ConcurrencyRow[]): string {
  const ms = ({ p50, p95, max }: Latency) => `${p50.toFixed(0)} / ${p95.toFixed(0)} / ${max.toFixed(0)}`;
  return table(
    rows.map((row) => ({
      model: row.model,
      clients: row.clients,
      'keys each': row.keysOfAClient,
      'one after the other: steps/CPU s': row.alone.toFixed(1),
      'at once': row.together.toFixed(1),
      ratio: row.ratio.toFixed(2),
      'CPU ms p50 / p95 / max': ms(row.aloneMs),
      'at once: CPU ms': ms(row.togetherMs),
      'ratio of p95': (row.togetherMs.p95 / row.aloneMs.p95).toFixed(2),
      'tokens read a key': row.read.toFixed(1),
      'tokens seen': row.seen.toFixed(0),
      'fewest answers': `${(100 * row.fewest).toFixed(0)} %`,
    })),
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
