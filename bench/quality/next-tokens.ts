/**
 * What a model predicts for each token of held-out middles, with the true tokens before it and a canvas of one slot,
 * and what the n-grams of the text around it predict. training/evaluation/ngram_weights.py calls it, draws the places
 * and fits the weights.
 *
 * Run: `npm run build:kernels`, then `node bench/quality/next-tokens.ts --model models/small --places places.jsonl`
 * (Node 24 or later). A place is a JSON line with `prefix`, `middle` and `suffix`. Writes one JSON line for each: an
 * array with the probability that the model gives the true token (`model`), that of the n-grams (`ngrams`) and their
 * longest match (`match`; absent if nothing matches) of each token.
 */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import * as z from 'zod';
import { parseConfig } from '../../src/denoiser/three-stream/config.ts';
import { Denoiser } from '../../src/denoiser/three-stream/denoiser.ts';
import type { KvCache } from '../../src/denoiser/three-stream/kv-cache.ts';
import { PREFILL_CHUNK_TOKENS } from '../../src/denoiser/transformer/memory.ts';
import { buildPrompt } from '../../src/engine/three-stream/prompt.ts';
import { loadTokenizer } from '../../src/tokenizer/tokenizer.ts';
import { benchModules, openModelWeights, readModelJson } from '../engine.ts';

const placeSchema = z.object({ prefix: z.string(), middle: z.string(), suffix: z.string() });

/** Of a middle: more than an editor shows of a line is rarely right. */
const TOKENS_OF_MIDDLE = 14;
const CACHE_BYTES = 40 * 2 ** 20;
/** The weights are not used. */
const NO_WEIGHTS = { bias: 0, length: 0, share: 0, count: 0 };

const { values } = parseArgs({
  options: { model: { type: 'string', default: 'models/small' }, places: { type: 'string' } },
});
if (values.places === undefined) throw new Error('--places is needed');
const folder = pathToFileURL(`${resolve(values.model)}/`);
const config = parseConfig(readModelJson('config.json', folder));
const tokenizer = loadTokenizer(readModelJson('tokenizer.json', folder));
const openWeights = () => openModelWeights(folder);
const denoiser = await Denoiser.load({ modules: benchModules(), config, openWeights, cacheBytes: CACHE_BYTES });
if (!config.diffusion.isShifted) throw new Error(`${values.model} does not predict the next token`);
const [prefixContext, suffixContext] = [denoiser.prefixContexts[0]!, denoiser.suffixContexts[0]!];

for (const line of readFileSync(values.places, 'utf8').trimEnd().split('\n')) {
  const { prefix, middle, suffix } = placeSchema.parse(JSON.parse(line));
  const { before, tokens } = tokensOfMiddle(prefix, middle);
  const shape = { ...config.diffusion, ngramWeights: NO_WEIGHTS };
  const prompt = buildPrompt({ prefix, suffix, prefixTokens: before }, tokenizer, shape);
  read(suffixContext, prompt.suffix);
  read(prefixContext, prompt.prefix.slice(0, -1));
  const places = tokens.map((token, index) => {
    const last = index === 0 ? prompt.prefix.at(-1)! : tokens[index - 1]!;
    const predictions = denoiser.evaluate(prefixContext, suffixContext, [last], 1);
    const model = Math.exp(predictions.allLogits(0)[token]! - predictions.logSumExp[0]!);
    denoiser.extend(prefixContext, [last]);
    const found = prompt.ngrams!.next(tokens.slice(0, index));
    return { model, ngrams: found?.probabilities.get(token) ?? 0, match: found?.match };
  });
  process.stdout.write(`${JSON.stringify(places)}\n`);
}

/** The first token that begins at or after the cursor, and those after it. */
function tokensOfMiddle(prefix: string, middle: string): { before: number[]; tokens: number[] } {
  const ids = tokenizer.encode(prefix + middle);
  let missing = Buffer.byteLength(prefix);
  let start = 0;
  while (missing > 0 && start < ids.length) missing -= tokenizer.bytesOf(ids[start++]!).length;
  return { before: ids.slice(0, start), tokens: ids.slice(start, start + TOKENS_OF_MIDDLE) };
}

function read(context: KvCache, ids: readonly number[]): void {
  context.truncate(0);
  for (let at = 0; at < ids.length; at += PREFILL_CHUNK_TOKENS) {
    denoiser.extend(context, ids.slice(at, at + PREFILL_CHUNK_TOKENS));
  }
}
