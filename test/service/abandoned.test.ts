/** Answers that are under way, whole and streamed, in both runtimes: clients that compress, leave, or type on. */
import { once } from 'node:events';
import { type ClientRequest, type IncomingMessage, request } from 'node:http';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MODELS } from '../../support/models-folder.ts';
import { type Service, serve } from '../../support/serving.ts';
import { metricsOf, startServe, urlOf } from './self-hosting.ts';

/** A busy machine may take its time. */
const PATIENT = { timeout: 60_000 };

const PREFIX = `${'const line = one();\n'.repeat(10)}function total(numbers) {\n  return num`;

/** So many choices that a test sees the beginning of the answer, and none of the end. */
const infill = (typed: string, more: object = {}) => ({
  input_prefix: '',
  prompt: PREFIX + typed,
  input_suffix: '\n}\n',
  n_predict: 256,
  n_cmpl: 128,
  ...more,
});

const ODD_LONG = { prompt: 'const values = [1, 2, ', n_predict: 256, n_cmpl: 128, editor: false, temperature: 0.9 };

const RUNTIMES: readonly [string, () => Promise<Service>][] = [
  ['npm start', () => serve(MODELS)],
  [
    'npm run serve',
    async () => {
      const program = await startServe();
      return { url: urlOf(program), stop: program.stop };
    },
  ],
];

describe.each(RUNTIMES)('%s', (_, begin) => {
  let service: Service;

  beforeAll(async () => {
    service = await begin();
  });

  afterAll(() => service?.stop());

  /** Asks over a connection of its own; resolves with the first bytes of the body. */
  async function ask(path: string, body: object, headers: Record<string, string> = {}) {
    const asked: ClientRequest = request(service.url + path, {
      method: 'POST',
      agent: false,
      headers: { 'content-type': 'application/json', ...headers },
    });
    asked.on('error', () => {}).end(JSON.stringify(body));
    const [response] = (await once(asked, 'response')) as [IncomingMessage];
    response.on('error', () => {});
    await once(response, 'readable');
    return { asked, response, first: String(response.read()) };
  }

  async function aborted(): Promise<number> {
    const samples = [...(await metricsOf(service.url))].filter(([name]) => name.includes('outcome="aborted"'));
    return samples.reduce((sum, [, count]) => sum + count, 0);
  }

  it.each([
    ['/infill', ODD_LONG, 'gzip, br', /^ /],
    ['/infill', { ...ODD_LONG, stream: true }, 'gzip, br', /^(data|:)/],
    ['/completion', ODD_LONG, 'br', /^ /],
    ['/v1/completions', { prompt: 'const values = [1, 2, ', max_tokens: 256, n: 128, temperature: 0.9 }, 'gzip', /^ /],
  ] as const)(
    'should end the work of %s %j when its compressing client (%s) leaves',
    async (path, body, accept, begins) => {
      const before = await aborted();
      const { asked, response, first } = await ask(path, body, { 'accept-encoding': accept });
      expect(response.statusCode).toBe(200);
      expect(response.headers['content-encoding'] ?? 'identity').toBe('identity');
      expect(first).toMatch(begins);
      asked.destroy();
      await expect.poll(aborted, PATIENT).toBe(before + 1);
    },
  );

  it.each([false, true])('should replace a request whose client types on, with stream: %s', async (stream) => {
    const { response, first } = await ask('/infill', infill('', { stream }));
    const newer = ask('/infill', infill('b', { n_cmpl: 1, stream }));
    const rest = first + (await text(response));
    const last = stream ? rest.trim().split('\n\n').at(-1)!.slice('data: '.length) : rest;
    expect(JSON.parse(last)).toMatchObject({ error: { code: 'replaced', type: 'invalid_request_error' } });
    const answer = await newer;
    expect(answer.response.statusCode).toBe(200);
    expect(answer.first + (await text(answer.response))).toMatch(/"stop":true/);
  });
});
