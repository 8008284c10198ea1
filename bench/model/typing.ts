/**
 * CPU milliseconds of a key stroke: a typing session over held-out files with a completion after every key, with a cold
 * cache and with the cache of the previous key.
 *
 * Run: `npm run bench:typing`, or `npm run bench:typing -- small [keys]` for another model of `models/` (Node 24 or
 * later; needs the npm registry the first time). Prints a table, then a line of JSON.
 */

import type { Engine, EngineLimits, GenerateRequest } from '../../src/engine/types.ts';
import { mulberry32 } from '../../support/seeded-random.ts';
import { complete, MODEL_FOLDER, openEngine } from '../engine.ts';
import { withProcessorMs } from '../processor-time.ts';
import { type HeldOutPackage, heldOutPackages } from '../quality/held-out.ts';
import { editSimilarity } from '../quality/tasks.ts';
import { quantile } from '../statistics.ts';
import { table } from '../table.ts';

/** The same number as in the figures of llama.cpp. */
const MAX_TOKENS = 16;
const KEYS = 240;
/** Keys in a row at one place of a file. */
export const KEYS_AT_A_PLACE = 48;
/** Characters on each side of a place: together a file of about 1,000 tokens. */
const CHARACTERS_AROUND = 2_000;
/** Every so many characters a wrong key is hit and deleted again: two more keys. */
const CHARACTERS_PER_SLIP = 12;
/** A cold key reads the whole context: every so many keys are enough. */
const KEYS_A_COLD_ONE = 8;
/** Warm-up keys, which are not counted: the optimizing compiler replaces the first code meanwhile. */
const WARM_UP_KEYS = 24;
/** Room for one pair of contexts with the longest output: a few other texts that fill the window evict the first. */
const ONE_PAIR: EngineLimits = { cacheBytes: 0 };

export interface KeyStroke {
  readonly prefix: string;
  readonly suffix: string;
  /** What is typed next, up to the end of the line. */
  readonly next: string;
}

/** The same keys on every machine: places from each package in turn, with the text around them as the file. */
export function recordSession(packages: readonly HeldOutPackage[], keys: number, seed = 1): KeyStroke[] {
  const random = mulberry32(seed);
  const below = (limit: number) => Math.floor(random() * limit);
  const strokes: KeyStroke[] = [];
  const longFiles = packages
    .map(({ files }) => files.filter(({ text }) => text.length > 3 * CHARACTERS_AROUND))
    .filter((files) => files.length > 0);
  for (let turn = 0; strokes.length < keys; turn++) {
    const long = longFiles[turn % longFiles.length]!;
    const whole = long[below(long.length)]!.text;
    const place = CHARACTERS_AROUND + below(whole.length - 2 * CHARACTERS_AROUND - KEYS_AT_A_PLACE);
    const begin = whole.lastIndexOf('\n', place - CHARACTERS_AROUND) + 1;
    const text = whole.slice(begin, place + CHARACTERS_AROUND);
    const start = place - begin;
    const lineEnd = (from: number) => (text.indexOf('\n', from) + text.length + 1) % (text.length + 1);
    // The suffix does not contain the text that will be typed: it starts at the next line.
    const suffix = text.slice(lineEnd(start + KEYS_AT_A_PLACE));
    const stroke = (typed: string, at: number) => {
      strokes.push({ prefix: text.slice(0, start) + typed, suffix, next: text.slice(at, lineEnd(at)) });
    };
    for (let typed = 1; typed <= KEYS_AT_A_PLACE; typed++) {
      const before = text.slice(start, start + typed - 1);
      if (typed % CHARACTERS_PER_SLIP === 0) {
        stroke(`${before}k`, start + typed - 1);
        stroke(before, start + typed - 1);
      }
      stroke(text.slice(start, start + typed), start + typed);
    }
  }
  return strokes.slice(0, keys);
}

export interface TypingRow {
  readonly setting: string;
  readonly keys: number;
  /** CPU milliseconds a key. */
  readonly p50: number;
  readonly p95: number;
  readonly max: number;
  readonly mean: number;
  /** Tokens of context that were computed. */
  readonly readP50: number;
  readonly readP95: number;
  readonly readMax: number;
  /** Means a key. */
  readonly steps: number;
  readonly slotEvaluations: number;
  /** Share of the keys that took no step. */
  readonly answeredByRest: number;
  /** Of the completion and the text that is typed next, up to the length of the completion. */
  readonly editSimilarity: number;
}

export interface TypingResult {
  readonly rows: readonly TypingRow[];
}

type Settings = Partial<GenerateRequest>;

interface Sample {
  readonly ms: number;
  readonly read: number;
  readonly steps: number;
  readonly slotEvaluations: number;
  readonly similarity: number;
}

async function measure(engine: Engine, { prefix, suffix, next }: KeyStroke, settings: Settings): Promise<Sample> {
  const request = { prefix, suffix, maxTokens: MAX_TOKENS, ...settings };
  const [{ text, usage }, ms] = await withProcessorMs(() => complete(engine, request));
  const length = Math.min(text.length, next.length);
  return {
    ms,
    read: usage.promptTokens - usage.cachedTokens,
    steps: usage.steps,
    slotEvaluations: usage.slotEvaluations,
    similarity: editSimilarity(text.slice(0, length), next.slice(0, length)),
  };
}

function summarize(setting: string, samples: readonly Sample[]): TypingRow {
  const mean = (name: keyof Sample) => samples.reduce((sum, sample) => sum + sample[name], 0) / samples.length;
  const quantileOf = (name: keyof Sample, share: number) =>
    quantile(
      samples.map((sample) => sample[name]),
      share,
    );
  return {
    setting,
    keys: samples.length,
    p50: quantileOf('ms', 0.5),
    p95: quantileOf('ms', 0.95),
    max: quantileOf('ms', 1),
    mean: mean('ms'),
    readP50: quantileOf('read', 0.5),
    readP95: quantileOf('read', 0.95),
    readMax: quantileOf('read', 1),
    steps: mean('steps'),
    slotEvaluations: mean('slotEvaluations'),
    answeredByRest: samples.filter(({ steps }) => steps === 0).length / samples.length,
    editSimilarity: mean('similarity'),
  };
}

/** @param model folder of a model; ends in a slash */
export async function benchTyping(model = MODEL_FOLDER, keys = KEYS): Promise<TypingResult> {
  const strokes = recordSession(heldOutPackages('validation'), keys);
  const warm = await openEngine(model, {});
  const cold = await openEngine(model, ONE_PAIR);
  // Each is longer than the window of any bundled model, on either side.
  const others = ['some(text);\n', 'let other;\n', 'if (more) {\n'].map((line) => line.repeat(1_000));
  const flush = async () => {
    for (const other of others) await complete(cold, { prefix: other, suffix: other, maxTokens: 0 });
  };
  // The runtime without narrow canvases and frozen slots.
  const widest = Math.max(...(warm.model.diffusion?.canvasWidths ?? []));
  const everything: Settings = { canvasWidth: widest, freezeAfter: Number.POSITIVE_INFINITY };
  for (const stroke of strokes.slice(0, WARM_UP_KEYS)) await measure(warm, stroke, {});
  for (const settings of [{}, everything]) await measure(cold, strokes[0]!, settings);
  const settings: {
    name: string;
    settings: Settings;
    engine: Engine;
    isCold?: boolean;
    samples: Sample[];
  }[] = [
    { name: 'cold', settings: {}, engine: cold, isCold: true, samples: [] },
    { name: 'warm', settings: {}, engine: warm, samples: [] },
    {
      name: 'warm, rest of a former completion',
      settings: { reuse: true },
      engine: await openEngine(model, {}),
      samples: [],
    },
    {
      name: 'warm, without drafts',
      settings: {},
      engine: await openEngine(model, { draftTokens: 0 }),
      samples: [],
    },
    { name: `cold, every slot of ${widest}`, settings: everything, engine: cold, isCold: true, samples: [] },
    {
      name: `warm, every slot of ${widest}`,
      settings: everything,
      engine: await openEngine(model, {}),
      samples: [],
    },
  ];
  // Key by key, so that a busy machine disturbs all settings equally.
  for (const [key, stroke] of strokes.entries()) {
    for (const { settings: asked, engine, isCold, samples } of settings) {
      if (isCold && key % KEYS_A_COLD_ONE !== 0) continue;
      if (isCold) await flush();
      samples.push(await measure(engine, stroke, asked));
    }
  }
  return { rows: settings.map(({ name, samples }) => summarize(name, samples)) };
}

export function formatTyping({ rows }: TypingResult): string {
  const cells = rows.map((row) => ({
    cache: row.setting,
    keys: row.keys,
    'CPU ms p50': row.p50.toFixed(1),
    p95: row.p95.toFixed(1),
    max: row.max.toFixed(1),
    mean: row.mean.toFixed(1),
    'tokens read p50': row.readP50,
    'p95 ': row.readP95,
    'max ': row.readMax,
    steps: row.steps.toFixed(1),
    evaluations: row.slotEvaluations.toFixed(1),
    'without a step': `${(100 * row.answeredByRest).toFixed(0)} %`,
    'edit similarity': `${(100 * row.editSimilarity).toFixed(1)} %`,
  }));
  return table(cells);
}

if (import.meta.main) {
  const [model = 'nano', keys = KEYS] = process.argv.slice(2);
  const result = await benchTyping(new URL(`../../models/${model}/`, import.meta.url), Number(keys));
  console.log(`${model}\n\n${formatTyping(result)}\n`);
  console.log(JSON.stringify({ model, ...result }));
}
