/**
 * `small` against llama.cpp with the same weights (training/export/prefix_gguf.py), one thread each, interleaved:
 * reading, one row, 16 tokens behind a full context, and key strokes in a file of 1,000 tokens. Ratios are our CPU time
 * divided by that of llama.cpp, medians of paired rounds.
 */

import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseConfig } from '../../../src/denoiser/three-stream/config.ts';
import { Denoiser } from '../../../src/denoiser/three-stream/denoiser.ts';
import { PREFILL_CHUNK_TOKENS } from '../../../src/denoiser/transformer/memory.ts';
import type { Engine, GenerateRequest } from '../../../src/engine/types.ts';
import { loadTokenizer, type Tokenizer } from '../../../src/tokenizer/tokenizer.ts';
import { benchModules, complete, openEngine, openModelWeights, readModelJson } from '../../engine.ts';
import { KEYS_AT_A_PLACE, type KeyStroke, recordSession } from '../../model/typing.ts';
import { processorMsOf, withProcessorMs } from '../../processor-time.ts';
import { heldOutPackages } from '../../quality/held-out.ts';
import { median, quantile } from '../../statistics.ts';
import { table } from '../../table.ts';
import { installLlamaCpp } from './install.ts';
import { LlamaCpp } from './peer.ts';

const MODEL = new URL('../../../models/small/', import.meta.url);
const GGUF = fileURLToPath(new URL('../../../build/gguf/small.gguf', import.meta.url));
const EXPORT = 'python -m training.export.prefix_gguf --model models/small --out build/gguf/small.gguf';

const READ_TOKENS = 512;
/** Single rows in a sample: one is too short for the clock. */
const ROWS_A_SAMPLE = 8;
const PASS_ROWS = [1, 2, 4, 8] as const;
const COMPLETION_TOKENS = 16;
/** Before and after the cursor: a full window, with room for the markers. */
const CONTEXT = { before: 1_016, after: 250 } as const;
/** With so many rounds all places and keys are measured, with fewer a part of them. */
const ALL_ROUNDS = 21;
/** One in each held-out package. */
const PLACES = { all: 5, least: 2 } as const;
/** Places that are looked at for those. */
const CANDIDATES = 80;
/** A completion is short, and its number of steps depends on the place: rounds are few, places are many. */
const ROUNDS_A_PLACE = 2;
const KEYS = { all: 96, least: 20 } as const;
const WARM_UP_ROUNDS = 2;

/** How our side decodes 16 tokens; llama.cpp goes from left to right. */
const WAYS = {
  'as shipped': {},
  'canvases of 2': { canvasWidth: 2 },
  'canvases of 4': { canvasWidth: 4 },
  'left to right': { decoding: 'autoregressive', suffix: '' },
} as const satisfies Record<string, Partial<GenerateRequest>>;

export interface LlamaCppRow {
  readonly what: string;
  readonly ours: string;
  readonly theirs: string;
  /** CPU milliseconds, medians; and the median of paired ratios, ours divided by theirs. */
  readonly oursMs: number;
  readonly theirsMs: number;
  readonly ratio: number;
  /** Ratio of the sums, each divided by the tokens it wrote. */
  readonly ratioPerToken?: number;
  readonly oursP95?: number;
  readonly theirsP95?: number;
  /** Means a completion. */
  readonly oursTokens?: number;
  readonly theirsTokens?: number;
  readonly oursSteps?: number;
}

interface Sample {
  readonly ms: number;
  readonly tokens?: number;
  readonly steps?: number;
}

interface Pair {
  readonly ours: Sample;
  readonly theirs: Sample;
}

interface Bench {
  readonly peer: LlamaCpp;
  readonly denoiser: Denoiser;
  readonly tokenizer: Tokenizer;
  /** Text of held-out files, each longer than a full window. */
  readonly texts: readonly string[];
}

function share({ all, least }: { all: number; least: number }, rounds: number): number {
  return Math.max(least, Math.min(all, Math.ceil((all * rounds) / ALL_ROUNDS)));
}

/** Undefined with a line on the console where llama.cpp cannot be built or has no file. */
export async function benchLlamaCpp(rounds: number): Promise<LlamaCppRow[] | undefined> {
  const missing = existsSync(GGUF) ? installLlamaCpp() : `run \`${EXPORT}\` first`;
  if (missing !== undefined) {
    console.log(`llama.cpp is left out: ${missing}\n`);
    return undefined;
  }
  const peer = await LlamaCpp.open(GGUF);
  try {
    const weights = readFileSync(new URL('model.safetensors', MODEL));
    if (createHash('sha256').update(weights).digest('hex') !== peer.about.weights) {
      throw new Error(`${GGUF} is not of the weights of models/small: run \`${EXPORT}\` again`);
    }
    console.log(`llama-cpp-python ${peer.about.version}, one thread, ${peer.about.system}`);
    const config = parseConfig(readModelJson('config.json', MODEL));
    const tokenizer = loadTokenizer(readModelJson('tokenizer.json', MODEL));
    const openWeights = () => openModelWeights(MODEL);
    const denoiser = await Denoiser.load({ modules: benchModules(), config, openWeights, cacheBytes: 0 });
    const packages = heldOutPackages('validation');
    const texts = packages
      .map(({ files }) => files.reduce((a, b) => (b.text.length > a.text.length ? b : a)).text)
      .filter((text) => tokenizer.encode(text).length > CONTEXT.before + CONTEXT.after);
    const bench = { peer, denoiser, tokenizer, texts };
    console.log(formatPasses(bench, rounds));
    const rows = [await benchReading(bench, rounds), await benchRow(bench, rounds)];
    const places = share(PLACES, rounds);
    rows.push(...(await benchCompletions(bench, places)));
    console.log(`${formatLlamaCpp(rows)}\n`);
    rows.push(...(await benchKeys(bench, recordSession(packages, share(KEYS, rounds)))));
    const keys = recordSession(packages, 2 * places * KEYS_AT_A_PLACE);
    const jumps = keys.filter(({ suffix }, key) => suffix !== keys[key - 1]?.suffix).slice(0, places);
    rows.push(...(await benchJumps(bench, jumps)));
    return rows;
  } finally {
    peer.close();
  }
}

function rowOf(what: string, ours: string, theirs: string, pairs: readonly Pair[]): LlamaCppRow {
  const all = (side: keyof Pair, of: keyof Sample) => pairs.map((pair) => pair[side][of] ?? 0);
  const sum = (side: keyof Pair, of: keyof Sample) => all(side, of).reduce((a, b) => a + b, 0);
  const written = sum('ours', 'tokens') > 0 && {
    ...(sum('theirs', 'tokens') > 0 && {
      ratioPerToken: sum('ours', 'ms') / sum('ours', 'tokens') / (sum('theirs', 'ms') / sum('theirs', 'tokens')),
    }),
    oursP95: quantile(all('ours', 'ms'), 0.95),
    theirsP95: quantile(all('theirs', 'ms'), 0.95),
    oursTokens: sum('ours', 'tokens') / pairs.length,
    theirsTokens: sum('theirs', 'tokens') / pairs.length,
    oursSteps: sum('ours', 'steps') / pairs.length,
  };
  return {
    what,
    ours,
    theirs,
    oursMs: median(all('ours', 'ms')),
    theirsMs: median(all('theirs', 'ms')),
    ratio: median(pairs.map((pair) => pair.ours.ms / pair.theirs.ms)),
    ...written,
  };
}

/** Token ids of the first text, the marker of the prefix stream first. */
function tokensOf({ tokenizer, texts }: Bench, count: number): number[] {
  return [tokenizer.special.prefix, ...tokenizer.encode(texts[0]!)].slice(0, count);
}

function read({ denoiser }: Bench, tokens: readonly number[]): void {
  const context = denoiser.prefixContexts[0]!;
  context.truncate(context.matchLength(tokens));
  while (context.length < tokens.length) {
    denoiser.extend(context, tokens.slice(context.length, context.length + PREFILL_CHUNK_TOKENS));
  }
}

async function benchReading(bench: Bench, rounds: number): Promise<LlamaCppRow> {
  const tokens = tokensOf(bench, READ_TOKENS);
  const pairs: Pair[] = [];
  for (let round = -WARM_UP_ROUNDS; round < rounds; round++) {
    bench.denoiser.prefixContexts[0]!.truncate(0);
    const ours = { ms: processorMsOf(() => read(bench, tokens)) };
    const theirs = await bench.peer.complete({ cache: 'read', tokens, maxTokens: 0, cold: true });
    if (round >= 0) pairs.push({ ours, theirs: { ms: theirs.ms } });
  }
  return rowOf(`reading ${READ_TOKENS} tokens`, 'prefill', 'prefill', pairs);
}

/** A row behind the tokens that `benchReading` has read, again and again. */
async function benchRow(bench: Bench, rounds: number): Promise<LlamaCppRow> {
  const { denoiser, peer } = bench;
  const tokens = tokensOf(bench, READ_TOKENS);
  const context = denoiser.prefixContexts[0]!;
  read(bench, tokens);
  const ours = () => {
    context.truncate(tokens.length - 1);
    denoiser.extendAndPredict(context, tokens.slice(-1));
  };
  const theirs = () => peer.complete({ cache: 'read', tokens, maxTokens: 1 });
  const pairs: Pair[] = [];
  for (let round = -WARM_UP_ROUNDS; round < rounds; round++) {
    const sums = { ours: 0, theirs: 0 };
    for (let i = 0; i < ROWS_A_SAMPLE; i++) {
      sums.ours += processorMsOf(ours);
      sums.theirs += (await theirs()).ms;
    }
    const [oursMs, theirsMs] = [sums.ours / ROWS_A_SAMPLE, sums.theirs / ROWS_A_SAMPLE];
    if (round >= 0) pairs.push({ ours: { ms: oursMs }, theirs: { ms: theirsMs } });
  }
  return rowOf(`one row behind ${READ_TOKENS}`, 'next token', 'next token', pairs);
}

/** Our passes of several rows, in times that of one row; llama.cpp is not part of it. */
function formatPasses(bench: Bench, rounds: number): string {
  const { denoiser, tokenizer } = bench;
  const context = denoiser.prefixContexts[0]!;
  read(bench, tokensOf(bench, READ_TOKENS));
  const samples = new Map<number, number[]>(PASS_ROWS.map((rows) => [rows, []]));
  for (let round = -WARM_UP_ROUNDS; round < rounds; round++) {
    for (const rows of PASS_ROWS) {
      const ids = new Int32Array(rows).fill(tokenizer.special.mask);
      const ms = processorMsOf(() => {
        for (let i = 0; i < ROWS_A_SAMPLE; i++) denoiser.evaluate(context, undefined, ids, rows);
      });
      if (round >= 0) samples.get(rows)!.push(ms / ROWS_A_SAMPLE);
    }
  }
  const cells = PASS_ROWS.map((rows) => {
    const ratio = median(samples.get(rows)!.map((ms, round) => ms / samples.get(1)![round]!));
    return `${rows} ${median(samples.get(rows)!).toFixed(1)} ms (${ratio.toFixed(2)}×)`;
  });
  return `a pass behind ${READ_TOKENS} tokens, by rows: ${cells.join(', ')}`;
}

async function completeTimed(
  engine: Engine,
  request: Pick<GenerateRequest, 'prefix' | 'suffix'> & Partial<GenerateRequest>,
): Promise<Sample> {
  const [{ usage }, ms] = await withProcessorMs(() => complete(engine, { maxTokens: COMPLETION_TOKENS, ...request }));
  return { ms, tokens: usage.completionTokens, steps: usage.steps };
}

/**
 * 16 tokens at places of files with a full window on both sides, all of it cached. Only at places where ours writes as
 * many: most completions end before, and llama.cpp is told not to end.
 */
async function benchCompletions({ peer, tokenizer, texts }: Bench, places: number): Promise<LlamaCppRow[]> {
  const engine = await openEngine(MODEL, {});
  const ways = Object.entries(WAYS);
  const pairs = new Map<string, Pair[]>(ways.map(([way]) => [way, []]));
  let found = 0;
  for (let place = 0; place < CANDIDATES && found < places; place++) {
    const ids = tokenizer.encode(texts[place % texts.length]!);
    const room = Math.max(0, ids.length - CONTEXT.before - CONTEXT.after);
    const start = Math.floor((room * (place + 1)) / (CANDIDATES + 1));
    const before = ids.slice(start, start + CONTEXT.before);
    const after = ids.slice(start + CONTEXT.before, start + CONTEXT.before + CONTEXT.after);
    const request = { prefix: tokenizer.decode(before), suffix: tokenizer.decode(after) };
    const { tokens: written = 0 } = await completeTimed(engine, request);
    if (written < COMPLETION_TOKENS) continue;
    found++;
    const command = { cache: 'completion', tokens: [tokenizer.special.prefix, ...before] };
    // The first round fills the caches.
    for (let round = -1; round < ROUNDS_A_PLACE; round++) {
      for (const [way, settings] of ways) {
        const ours = await completeTimed(engine, { ...request, ...settings });
        const theirs = await peer.complete({ ...command, maxTokens: COMPLETION_TOKENS, ignoreEnd: true });
        if (round >= 0) pairs.get(way)!.push({ ours, theirs: { ms: theirs.ms, tokens: theirs.tokens.length } });
      }
    }
  }
  const what = `${COMPLETION_TOKENS} tokens, full window cached`;
  return ways.map(([way]) => rowOf(what, way, 'left to right', pairs.get(way)!));
}

/** What llama.cpp reads of a text: as much of the suffix as our window has. */
function asRead({ tokenizer }: Bench, { prefix, suffix }: KeyStroke): { prefix: string; suffix: string } {
  return { prefix, suffix: tokenizer.decode(tokenizer.encode(suffix).slice(0, CONTEXT.after)) };
}

/** A completion after every key at the same place, in both orders of llama.cpp's `/infill`. */
async function benchKeys(bench: Bench, strokes: readonly KeyStroke[]): Promise<LlamaCppRow[]> {
  const engine = await openEngine(MODEL, {});
  const orders = { 'suffix behind': false, 'suffix first': true } as const;
  const names = Object.keys(orders) as (keyof typeof orders)[];
  const warm = new Map<string, Pair[]>(names.map((name) => [name, []]));
  let before = '';
  for (const stroke of strokes) {
    const { prefix, suffix } = stroke;
    const ours = await completeTimed(engine, { prefix, suffix, nearFirst: true });
    await engine.readAhead;
    for (const name of names) {
      const command = { cache: name, ...asRead(bench, stroke), suffixFirst: orders[name] };
      const { ms, tokens } = await bench.peer.complete({ ...command, maxTokens: COMPLETION_TOKENS });
      // The first key at a place reads its file.
      if (suffix === before) warm.get(name)!.push({ ours, theirs: { ms, tokens: tokens.length } });
    }
    before = suffix;
  }
  return names.map((name) => rowOf('key stroke, warm', 'as shipped', name, warm.get(name)!));
}

/** The first completion after a jump into another file, against one that reads it, and against reading it alone. */
async function benchJumps(bench: Bench, strokes: readonly KeyStroke[]): Promise<LlamaCppRow[]> {
  // Room for one file: the others have evicted it.
  const [whole, near] = [await openEngine(MODEL, { cacheBytes: 0 }), await openEngine(MODEL, { cacheBytes: 0 })];
  const pairs = new Map<string, Pair[]>();
  const add = (name: string, ours: Sample, theirs: Sample) => {
    pairs.set(name, [...(pairs.get(name) ?? []), { ours, theirs }]);
  };
  for (const stroke of strokes) {
    const { prefix, suffix } = stroke;
    const oursWhole = await completeTimed(whole, { prefix, suffix });
    const ours = await completeTimed(near, { prefix, suffix, nearFirst: true });
    const [, restMs] = await withProcessorMs(() => near.readAhead);
    const command = { cache: 'cold', ...asRead(bench, stroke), cold: true };
    const reading = await bench.peer.complete({ ...command, maxTokens: 0 });
    const theirs = await bench.peer.complete({ ...command, maxTokens: COMPLETION_TOKENS });
    add('near window, 16 tokens | 16 tokens', ours, { ms: theirs.ms, tokens: theirs.tokens.length });
    add('near window, 16 tokens | reading alone', ours, { ms: reading.ms });
    add('whole window, 16 tokens | 16 tokens', oursWhole, { ms: theirs.ms, tokens: theirs.tokens.length });
    add('whole window, 16 tokens | reading alone', oursWhole, { ms: reading.ms });
    add('the rest, between requests | reading alone', { ms: restMs }, { ms: reading.ms });
  }
  return [...pairs].map(([name, found]) => {
    const [ours, theirs] = name.split(' | ') as [string, string];
    return rowOf('jump into a file', ours, theirs, found);
  });
}

export function formatLlamaCpp(rows: readonly LlamaCppRow[]): string {
  const ms = (p50: number, p95: number | undefined) => `${p50.toFixed(1)}${p95 ? ` (p95 ${p95.toFixed(1)})` : ''}`;
  const number = (value: number | undefined) => value?.toFixed(1) ?? '';
  return table(
    rows.map((row) => ({
      'CPU ms, one thread': row.what,
      ours: row.ours,
      'llama.cpp': row.theirs,
      'ours, ms': ms(row.oursMs, row.oursP95),
      'llama.cpp, ms': ms(row.theirsMs, row.theirsP95),
      'ours / llama.cpp': row.ratio.toFixed(2),
      'a token': row.ratioPerToken?.toFixed(2) ?? '',
      'tokens, ours': number(row.oursTokens),
      'llama.cpp ': number(row.theirsTokens),
      steps: number(row.oursSteps),
    })),
  );
}
