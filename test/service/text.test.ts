/**
 * What reaches an editor over a real socket, from the shipped model: text, in the line ends of the file, with what the
 * engine knows of it.
 */
import { globSync, readFileSync } from 'node:fs';
import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MODELS } from '../../support/models-folder.ts';
import { type Service, serve } from '../../support/serving.ts';

const ROOT = new URL('../..', import.meta.url);

/** Beginnings after which the model wrote bytes of no character. */
const BEYOND_ASCII = ['const icons = ["🚀", "🔥", "', '// Привет, ', '│ ─── ', "const grüße = 'schöne "];
const SUFFIXES = ['\n', '', '"];\n', ' █\n'];

interface Infill {
  content: string;
  stop_type: string;
  stopping_word: string;
  tokens_cached: number;
  tokens_evaluated: number;
  timings: { cache_n: number; prompt_n: number; prompt_ms: number; predicted_ms: number };
  quicksilver: { confidence: number | null; ended_by: string };
}

describe('the service with its model', () => {
  let service: Service;

  beforeAll(async () => {
    service = await serve(MODELS);
  });

  afterAll(() => service?.stop());

  async function ask(path: string, body: object): Promise<string> {
    const response = await fetch(service.url + path, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    const text = await response.text();
    expect(response.status, text).toBe(200);
    return text;
  }

  const infill = async (body: object) => JSON.parse(await ask('/infill', body)) as Infill;

  it.each(BEYOND_ASCII)('should only write valid text next to %s', async (prefix) => {
    for (const suffix of SUFFIXES) {
      const body = { model: 'nano', prompt: prefix, suffix, max_tokens: 32, temperature: 0.7, seed: 1 };
      const answers = [
        await ask('/infill', { input_prefix: prefix, input_suffix: suffix, n_predict: 32, editor: false }),
        await ask('/infill', { input_prefix: prefix, input_suffix: suffix, n_predict: 32, min_confidence: 0 }),
        await ask('/v1/completions', { ...body, stream: true, diffusing: 'canvas' }),
        await ask('/v1/completions', { ...body, max_steps: 2, logprobs: 3 }),
        await ask('/v1/completions', { ...body, suffix: '', decoding: 'autoregressive', stream: true }),
      ];
      for (const answer of answers) expect(answer).not.toMatch(/\ufffd|\\ufffd|\\u0000|\\r/);
    }
  });

  it.each(['\r\n', '\r'])('should complete a file with %j as one with line feeds', async (end) => {
    const files = globSync('src/{api,http}/**/*.ts', { cwd: ROOT }).sort().slice(0, 12);
    let shown = 0;
    for (const [number, file] of files.entries()) {
      const text = readFileSync(new URL(file, ROOT), 'utf8');
      const at = Math.floor(text.length * (0.3 + 0.05 * number));
      const [before, after] = [text.slice(0, at), text.slice(at)];
      const inEnds = (part: string) => part.replaceAll('\n', end);
      const of = (input_prefix: string, input_suffix: string) =>
        infill({ input_prefix, input_suffix, n_predict: 32, min_confidence: 0 });
      const [plain, other] = [await of(before, after), await of(inEnds(before), inEnds(after))];
      expect(other.content).toBe(inEnds(plain.content));
      if (plain.content !== '') shown++;
    }
    expect(shown).toBeGreaterThan(0);
  });

  it('should stop at a line end, however it is written, and echo what was sent', async () => {
    const openai = new OpenAI({ baseURL: `${service.url}/v1`, apiKey: 'none' });
    const prompt = 'function add(a, b) {\r\n';
    const { choices } = await openai.completions.create({ model: 'nano', prompt, stop: ['\r\n'], echo: true });
    expect(choices[0]!.text.startsWith(prompt)).toBe(true);
    expect(choices[0]!.text.slice(prompt.length)).not.toMatch(/[\r\n]/);
    expect(choices[0]).toMatchObject({ stop_reason: '\r\n', ended_by: 'stop' });
  });

  it('should report the stop string, whole and in a stream', async () => {
    const body = {
      input_prefix: 'print("hello"',
      input_suffix: '\n',
      stop: ['never', ')'],
      n_predict: 64,
      editor: false,
    };
    const answer = await infill(body);
    expect(answer).toMatchObject({ stop_type: 'word', stopping_word: ')' });
    const events = (await ask('/infill', { ...body, stream: true })).trim().split('\n\n');
    expect(JSON.parse(events.at(-1)!.slice('data: '.length))).toMatchObject({ stop_type: 'word', stopping_word: ')' });
  });

  it('should be as sure of a text as it is of it, however long it might have been', async () => {
    const place = {
      input_prefix: 'export function isString(value) {\n  return typeof value === ',
      input_suffix: ';\n}\n',
    };
    const sure = async (n_predict: number) => infill({ ...place, n_predict, min_confidence: 0 });
    const answers = [await sure(8), await sure(64), await sure(256)];
    for (const { content, quicksilver } of answers) {
      const same = answers.filter((other) => other.content === content);
      for (const other of same) expect(other.quicksilver.confidence).toBeCloseTo(quicksilver.confidence!, 1);
    }
  });

  it('should count each token of the prompt once, as read or as cached', async () => {
    const place = {
      input_prefix: `${'const a = 1;\n'.repeat(60)}const b`,
      input_suffix: '\n',
      editor: false,
      n_predict: 64,
    };
    const [first, again] = [await infill(place), await infill(place)];
    for (const { timings, tokens_evaluated } of [first, again]) {
      expect(timings.cache_n + timings.prompt_n).toBe(tokens_evaluated);
    }
    expect(first.timings.prompt_n).toBeGreaterThan(0);
    expect(again.timings.prompt_n).toBe(0);
  });
});
