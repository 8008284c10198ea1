/**
 * Completes places of files as an editor asks for them: with the editor rules, at any confidence.
 * training/evaluation/editor_places.py calls it, draws the places and scores the answers.
 *
 * Run: `npm run build:kernels`, then `node bench/quality/editor-places.ts --model models/nano --places places.jsonl`
 * (Node 24 or later). A place is a JSON line with `prefix` and `suffix`. Writes one JSON line for each: `text`,
 * `total` (the sum of the log-probabilities of its tokens), `tokens`, their number, `end`, the log-probability of the
 * token that ended the completion (absent if none did), and `seen`, the tokens of context that it was computed from.
 * `--window whole` reads the whole window of each place first, `--window 256,64` no more than so many tokens before and
 * after the cursor; otherwise the answer is that of the first key in a file.
 */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import * as z from 'zod';
import { generateChoices } from '../../src/api/completion/completion.ts';
import { complete, openEngine } from '../engine.ts';

const placeSchema = z.object({ prefix: z.string(), suffix: z.string() });

/** More than an editor shows of a line. */
const MAX_TOKENS = 64;

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
const never = new AbortController().signal;

for (const line of readFileSync(values.places, 'utf8').trimEnd().split('\n')) {
  const { prefix, suffix } = placeSchema.parse(JSON.parse(line));
  if (isWhole) await complete(engine, { prefix, suffix, maxTokens: 0 });
  const call = {
    prompts: [{ text: prefix, prefix, suffix }],
    n: 1,
    seed: 0,
    echo: false,
    stream: false,
    diffusing: false,
    includeUsage: false,
    editor: { minConfidence: 0 },
    decoding: { maxTokens: MAX_TOKENS, stop: [], temperature: 0, topP: 1 },
  };
  for await (const event of generateChoices(engine, call, never)) {
    if (event.type !== 'end') continue;
    const { text, tokens = [], endLogProbability: end, usage } = event.completion;
    const total = tokens.reduce((sum, { logProbability }) => sum + logProbability, 0);
    process.stdout.write(`${JSON.stringify({ text, total, tokens: tokens.length, end, seen: usage.promptTokens })}\n`);
  }
}
