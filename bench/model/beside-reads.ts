/**
 * What a key stroke costs while the context of another client is read: one client types in a text that is in the
 * cache, and for each of its keys another one asks, without the rules of an editor, about a file of its own.
 *
 * Run: `npm run build:kernels`, then `node bench/model/beside-reads.ts [models] [keys]`, as in `small 20` (Node 24 or
 * later; needs the npm registry the first time). Times are processor time of the process from a request to its answer.
 */

import type { Engine } from '../../src/engine/types.ts';
import { complete, openEngine } from '../engine.ts';
import { withProcessorMs } from '../processor-time.ts';
import { heldOutPackages } from '../quality/held-out.ts';
import { quantile } from '../statistics.ts';
import { table } from '../table.ts';
import { type KeyStroke, recordSession } from './typing.ts';

const KEYS = 20;
/** Keys that record one place of a file, see typing.ts. */
const KEYS_OF_A_PLACE = 96;
const WARM_UP_KEYS = 6;
const OTHER_PLACES = 6;
const MAX_TOKENS = 16;
/** The other request is under way by then. */
const LATER_MS = 5;

async function askMs(engine: Engine, { prefix, suffix }: KeyStroke): Promise<number> {
  const [, ms] = await withProcessorMs(() => complete(engine, { prefix, suffix, maxTokens: MAX_TOKENS }));
  return ms;
}

async function benchModel(model: string, keys: number) {
  const engine = await openEngine(new URL(`../../models/${model}/`, import.meta.url), {});
  const all = recordSession(heldOutPackages('validation'), (1 + OTHER_PLACES) * KEYS_OF_A_PLACE);
  const own = all.slice(0, KEYS_OF_A_PLACE);
  for (const stroke of own.slice(0, WARM_UP_KEYS)) await askMs(engine, stroke);
  const times: { alone: number[]; beside: number[]; reads: number[] } = { alone: [], beside: [], reads: [] };
  for (let key = WARM_UP_KEYS; key < WARM_UP_KEYS + keys; key++) times.alone.push(await askMs(engine, own[key]!));
  for (let key = 0; key < keys; key++) {
    const other = all[KEYS_OF_A_PLACE * (1 + (key % OTHER_PLACES)) + key]!;
    const reading = askMs(engine, other);
    await new Promise((resolve) => setTimeout(resolve, LATER_MS));
    times.beside.push(await askMs(engine, own[WARM_UP_KEYS + keys + key]!));
    times.reads.push(await reading);
  }
  const quantiles = (values: readonly number[]) =>
    [0.5, 0.95].map((share) => quantile(values, share).toFixed(0)).join(' / ');
  return {
    model,
    keys,
    'a key alone, CPU ms p50 / p95': quantiles(times.alone),
    'while another context is read': quantiles(times.beside),
    'the other request': quantiles(times.reads),
  };
}

const [models = 'small', keys = KEYS] = process.argv.slice(2);
const rows: Awaited<ReturnType<typeof benchModel>>[] = [];
for (const model of models.split(',')) rows.push(await benchModel(model, Number(keys)));
console.log(table(rows));
