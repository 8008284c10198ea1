/**
 * Ids and text of src/tokenizer for texts on standard input, one JSON string a line: `node scripts/tokenize.ts
 * tokenizer.json`. Answers each with a line `{"ids": […], "text": "…"}`. For `python -m
 * training.export.tokenizer_parity`.
 */

import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { loadTokenizer } from '../src/tokenizer/tokenizer.ts';

const [path] = process.argv.slice(2);
if (path === undefined) throw new Error('usage: node scripts/tokenize.ts tokenizer.json < texts.jsonl');
const tokenizer = loadTokenizer(JSON.parse(readFileSync(path, 'utf8')));
for await (const line of createInterface({ input: process.stdin, crlfDelay: Number.POSITIVE_INFINITY })) {
  const ids = tokenizer.encode(JSON.parse(line));
  process.stdout.write(`${JSON.stringify({ ids, text: tokenizer.decode(ids) })}\n`);
}
