/**
 * Completes places of files as an editor asks for them: `/v1/completions` with the editor rules, at any confidence.
 * training/evaluation/editor_places.py calls it, draws the places and scores the answers.
 *
 * Run: `npm run build:kernels`, then `node bench/quality/editor-places.ts --model models/nano --places places.jsonl`
 * (Node 24 or later). A place is a JSON line with `prefix` and `suffix`. Writes one JSON line for each: `text`,
 * `total` (the sum of the log-probabilities of its tokens), `tokens`, their number, and `seen`, the tokens of context
 * that it was computed from. `--window whole` reads the whole window of each place first, `--window 256,64` no more
 * than so many tokens before and after the cursor; otherwise the answer is that of the first key in a file.
 */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import * as z from 'zod';
import { createApp } from '../../src/app.ts';
import { ModelCatalog } from '../../src/engine/catalog.ts';
import { complete, openEngine } from '../engine.ts';

const placeSchema = z.object({ prefix: z.string(), suffix: z.string() });
const answerSchema = z.object({
  choices: z.tuple([z.object({ text: z.string(), logprobs: z.object({ token_logprobs: z.array(z.number()) }) })]),
  usage: z.object({ prompt_tokens: z.number() }),
});

/** More than an editor shows of a line. */
const MAX_TOKENS = 64;

const MODEL = 'model';

const { values } = parseArgs({
  options: {
    model: { type: 'string', default: 'models/nano' },
    places: { type: 'string' },
    window: { type: 'string' },
  },
});
if (values.places === undefined) throw new Error('--places is needed');
const folder = pathToFileURL(`${resolve(values.model)}/`);
const isWhole = values.window === 'whole';
const [prefixTokens, suffixTokens] = isWhole ? [] : (values.window?.split(',').map(Number) ?? []);
const window = prefixTokens && suffixTokens ? { prefix_tokens: prefixTokens, suffix_tokens: suffixTokens } : {};
const engine = await openEngine(folder, {}, window);
const app = createApp(
  new ModelCatalog([
    { id: MODEL, status: { state: 'loaded' }, info: async () => engine.model, engine: async () => engine },
  ]),
);

for (const line of readFileSync(values.places, 'utf8').trimEnd().split('\n')) {
  const { prefix, suffix } = placeSchema.parse(JSON.parse(line));
  if (isWhole) await complete(engine, { prefix, suffix, maxTokens: 0 });
  const response = await app.request('/v1/completions', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      model: MODEL,
      prompt: prefix,
      suffix,
      max_tokens: MAX_TOKENS,
      logprobs: 1,
      editor: true,
      min_confidence: 0,
    }),
  });
  if (!response.ok) throw new Error(`/v1/completions answered ${response.status}: ${await response.text()}`);
  const { choices, usage } = answerSchema.parse(await response.json());
  const [{ text, logprobs }] = choices;
  const total = logprobs.token_logprobs.reduce((sum, each) => sum + each, 0);
  const tokens = logprobs.token_logprobs.length;
  process.stdout.write(`${JSON.stringify({ text, total, tokens, seen: usage.prompt_tokens })}\n`);
}
