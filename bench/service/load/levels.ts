/** Several clients type at once: completions per second, latencies, and fairness between the clients. */

import { type KeyStroke, recordSession } from '../../model/typing.ts';
import { heldOutPackages } from '../../quality/held-out.ts';
import { quantile } from '../../statistics.ts';
import type { RunningService } from './service.ts';
import { type Fate, keyTimes, type Outcome, Typist } from './typist.ts';

export const CLIENTS = [1, 4, 8, 32, 64] as const;

/** Keys of one client before its text starts again; more than it types in a session. */
const KEYS_A_CLIENT = 96;

export interface LevelRow {
  clients: number;
  seconds: number;
  keys: number;
  answered: number;
  /** Aborted by the client because of the next key. */
  givenUp: number;
  refused: number;
  failed: number;
  completionsPerSecond: number;
  /** Processor time of the service per answer, including that of aborted requests. */
  cpuMsPerAnswer: number;
  /** Share of one processor that the service used. */
  processor: number;
  /** From the key to the end of the answer, for answered requests. */
  p50Ms: number;
  p95Ms: number;
  p99Ms: number;
  /** Of answers without streaming, and with it. */
  followP95Ms: number;
  abortP95Ms: number;
  /**
   * Answers of the clients with the fewest and the most, for the behaviour (abort or follow) with the larger
   * difference.
   */
  fewestAnswers: number;
  mostAnswers: number;
  /** (Σx)² / (n Σx²) over the answers of the clients of one behaviour, the lower of the two: 1 is equal (Jain). */
  fairness: number;
  /** The longest time of any client between two answers. */
  longestWithoutMs: number;
}

/** Key strokes for each client, from different places of held-out files. */
export function recordClients(clients: number): KeyStroke[][] {
  const strokes = recordSession(heldOutPackages('validation'), clients * KEYS_A_CLIENT);
  return Array.from({ length: clients }, (_, at) => strokes.slice(at * KEYS_A_CLIENT, (at + 1) * KEYS_A_CLIENT));
}

/** Lets `clients` type for a while. Every second one aborts its request when it types the next key. */
export async function runLevel(service: RunningService, clients: number, seconds: number): Promise<LevelRow> {
  const recorded = recordClients(clients);
  const typists = recorded.map(
    (strokes, at) =>
      new Typist({
        url: service.url,
        manner: at % 2 === 0 ? 'abort' : 'follow',
        strokes,
        times: keyTimes(at + 1, seconds * 1000),
      }),
  );
  const before = service.usage();
  const startMs = performance.now();
  await Promise.all(typists.map((typist) => typist.type()));
  const elapsedMs = performance.now() - startMs;
  const cpuSeconds = service.usage().cpuSeconds - before.cpuSeconds;
  return summarize(typists, { clients, elapsedMs, cpuSeconds });
}

function summarize(
  typists: readonly Typist[],
  { clients, elapsedMs, cpuSeconds }: { clients: number; elapsedMs: number; cpuSeconds: number },
): LevelRow {
  const outcomes = typists.flatMap((typist) => typist.outcomes);
  const count = (fate: Fate) => outcomes.filter((outcome) => outcome.fate === fate).length;
  const answered = count('answered');
  const latencies = (some: readonly Outcome[]) => some.filter(({ fate }) => fate === 'answered').map(({ ms }) => ms);
  const of = (manner: Typist['manner']) => typists.filter((typist) => typist.manner === manner);
  const answersOf = (some: readonly Typist[]) => some.map((typist) => latencies(typist.outcomes).length);
  const manners = [of('abort'), of('follow')].filter((some) => some.length > 0);
  const unequal = manners.map(answersOf).reduce((one, other) => (jain(other) < jain(one) ? other : one));
  return {
    clients,
    seconds: elapsedMs / 1000,
    keys: outcomes.length,
    answered,
    givenUp: count('given up'),
    refused: count('refused'),
    failed: count('failed'),
    completionsPerSecond: (answered * 1000) / elapsedMs,
    cpuMsPerAnswer: (cpuSeconds * 1000) / answered,
    processor: (cpuSeconds * 1000) / elapsedMs,
    p50Ms: quantileOrZero(latencies(outcomes), 0.5),
    p95Ms: quantileOrZero(latencies(outcomes), 0.95),
    p99Ms: quantileOrZero(latencies(outcomes), 0.99),
    followP95Ms: quantileOrZero(latencies(of('follow').flatMap((typist) => typist.outcomes)), 0.95),
    abortP95Ms: quantileOrZero(latencies(of('abort').flatMap((typist) => typist.outcomes)), 0.95),
    fewestAnswers: Math.min(...unequal),
    mostAnswers: Math.max(...unequal),
    fairness: jain(unequal),
    longestWithoutMs: Math.max(...typists.map((typist) => longestGap(typist.outcomes, elapsedMs))),
  };
}

/** 0 if there are no values. */
export function quantileOrZero(values: readonly number[], share: number): number {
  return values.length === 0 ? 0 : quantile(values, share);
}

/** Jain's index of fairness, from 1 / n to 1; 1 if all shares are 0. */
export function jain(shares: readonly number[]): number {
  const total = shares.reduce((sum, share) => sum + share, 0);
  const squares = shares.reduce((sum, share) => sum + share * share, 0);
  return squares === 0 ? 1 : (total * total) / (shares.length * squares);
}

function longestGap(outcomes: readonly Outcome[], endMs: number): number {
  const times = outcomes.filter(({ fate }) => fate === 'answered').map(({ atMs }) => atMs);
  return Math.max(...[...times, endMs].map((time, at) => time - (times[at - 1] ?? 0)));
}
