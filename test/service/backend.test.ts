/** Forwarding in the real runtime, between the client that most programs use and a backend that misbehaves. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Mistral } from '@mistralai/mistralai';
import OpenAI, { APIError, BadRequestError, InternalServerError } from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Service, serve } from '../../support/serving.ts';
import { answerJson, type Received, refuse, type Server, serverThat, writeEvents } from '../backend/server.ts';

const KEY = 'sk-backend-secret';

/** Longer than the service waits before it sends the head of a whole answer. */
const LATE_MS = 7_000;

/** One chunk of a chat stream. */
const chunk = (content: string) =>
  `data: ${JSON.stringify({ id: 'c', object: 'chat.completion.chunk', choices: [{ index: 0, delta: { content } }] })}\n\n`;

/** The chunk that ends a chat stream. */
const STOP = `data: ${JSON.stringify({ id: 'c', choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] })}\n\n`;

const errorEvent = (code: number) => `data: ${JSON.stringify({ error: { message: `said ${code}`, code } })}\n\n`;

/** Streams that end in one way or another, or fail. */
const STREAMS: Readonly<Record<string, readonly string[]>> = {
  'end without a blank line': [chunk('0 '), STOP, 'data: [DONE]'],
  'end with the last chunk': [chunk('0 '), STOP.slice(0, -1)],
  'end without [DONE]': [chunk('0 '), STOP],
  'be cut': [chunk('0 '), chunk('1 ')],
  'fail at once': [errorEvent(500), 'data: [DONE]\n\n'],
  'fail later': [chunk('0 '), errorEvent(500), 'data: [DONE]\n\n'],
  'refuse in a stream': [errorEvent(400), 'data: [DONE]\n\n'],
};

const usage = { prompt_tokens: 1000, completion_tokens: 20, total_tokens: 1020 };

/** Answers completions, as an engine that knows no dialect but OpenAI's. */
async function complete(response: ServerResponse, stream: boolean, prompt = ''): Promise<void> {
  const completion = (text: string, finish_reason: string | null) =>
    JSON.stringify({
      id: 'c',
      object: 'text_completion',
      created: 1,
      model: 'm',
      choices: [{ index: 0, text, finish_reason, logprobs: null }],
      usage,
    });
  const text = prompt.includes('several lines') ? 'a();\n  b();\n}\nmore' : 'a + b';
  if (!stream)
    return void response.writeHead(200, { 'content-type': 'application/json' }).end(completion(text, 'stop'));
  await writeEvents(response, [`data: ${completion('a + ', null)}\n\n`, `data: ${completion('b', 'stop')}\n\n`]);
  response.end('data: [DONE]\n\n');
}

describe('a backend of the service', () => {
  let folder: string;
  let backend: Server;
  let service: Service;
  let client: OpenAI;

  /** The backend does what the text of the last message says. */
  const ask = (what: string, model = 'large') => ({ model, messages: [{ role: 'user' as const, content: what }] });
  /** The text of a stream and how it ended, as the client sees it. */
  async function streamed(what: string, model?: string): Promise<[string, string | null | undefined]> {
    const chunks = await Array.fromAsync(await client.chat.completions.create({ ...ask(what, model), stream: true }));
    return [
      chunks.map(({ choices }) => choices[0]?.delta.content ?? '').join(''),
      chunks.at(-1)?.choices[0]?.finish_reason,
    ];
  }
  const lastOf = (what: string): Received | undefined => backend.received.findLast(({ body }) => body.includes(what));

  beforeAll(async () => {
    const times = new Map<string, number>();
    backend = await serverThat(async (response, _, { body }) => {
      const {
        model,
        messages,
        stream = false,
        prompt,
      } = JSON.parse(body) as {
        model: string;
        messages?: { content: string }[];
        stream?: boolean;
        prompt?: string;
      };
      if (messages === undefined) return complete(response, stream, prompt);
      const what = model === 'spare-1' ? 'stand in' : messages.at(-1)!.content;
      times.set(what, (times.get(what) ?? 0) + 1);
      if (what === 'fail') return refuse(response, 500);
      if (what === 'flaky' && times.get(what)! < 3) return refuse(response, 503, { 'retry-after-ms': '5' });
      if (what === 'limited') return refuse(response, 429, { 'retry-after': '40' });
      if (what === 'fail in a body') return answerJson(response, '{"error":{"message":"m","code":504}}');
      if (what === 'never begin') return;
      if (what === 'take long' || what === 'fail late') await sleep(LATE_MS);
      if (what === 'fail late') return refuse(response, 500);
      if (what === 'ping and break') {
        await writeEvents(response, [': ping\n\n', ': ping\n\n']);
        return void response.destroy();
      }
      if (STREAMS[what]) {
        await writeEvents(response, STREAMS[what]);
        return void response.end();
      }
      if (!stream) {
        const message = { role: 'assistant', content: `did ${what}` };
        response.writeHead(200, { 'content-type': 'application/json', 'set-cookie': 'a=b' });
        return void response.end(JSON.stringify({ choices: [{ index: 0, message, finish_reason: 'stop' }], usage }));
      }
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      for (let i = 0; i < (what === 'endless' ? 10_000 : 3) && !response.destroyed; i++) {
        response.write(chunk(`${i} `));
        await sleep(10);
      }
      if (what === 'break') return void response.destroy();
      response.end('data: [DONE]\n\n');
    });
    const settings = {
      base_url: backend.url,
      key: 'BIG_KEY',
      models: ['large'],
      retry_delay_ms: 5,
      breaker_failures: 99,
      // Longer than a test may take: what lets a backend go is not this.
      first_byte_timeout_ms: 300_000,
    };
    folder = await mkdtemp(join(tmpdir(), 'quicksilver-backend-'));
    const backends = {
      big: settings,
      guarded: { ...settings, models: ['guarded'], fallback: ['spare'] },
      once: { ...settings, models: ['once'], retries: 0 },
      spare: { ...settings, models: ['spare-1'] },
      limited: { ...settings, models: ['limited'], fallback: ['spare'] },
    };
    await writeFile(join(folder, 'env'), `BIG_KEY=${KEY}\nBACKENDS='${JSON.stringify(backends)}'\n`);
    service = await serve(folder, ['--env-file', join(folder, 'env')]);
    client = new OpenAI({ baseURL: `${service.url}/v1`, apiKey: 'client-key', maxRetries: 0 });
  });

  afterAll(async () => {
    await service?.stop();
    await backend?.close();
    await rm(folder, { recursive: true, force: true });
  });

  it('should answer a chat, asked with the key of the service', async () => {
    const { data, response } = await client.chat.completions.create(ask('work')).withResponse();
    expect(data.choices[0]?.message.content).toBe('did work');
    expect(response.headers.get('x-quicksilver-backend')).toBe('big');
    expect(response.headers.has('set-cookie')).toBe(false);
    expect(lastOf('work')?.headers.authorization).toBe(`Bearer ${KEY}`);
    expect(JSON.stringify(lastOf('work')?.headers)).not.toContain('client-key');
  });

  it('should be asked again while it is overloaded', async () => {
    const { response } = await client.chat.completions.create(ask('flaky')).withResponse();
    expect(response.headers.get('x-quicksilver-attempts')).toBe('3');
  });

  it('should have its failure raised by the client', async () => {
    await expect(client.chat.completions.create(ask('fail'))).rejects.toThrow(InternalServerError);
  });

  it('should stream', async () => {
    const stream = await client.chat.completions.create({ ...ask('stream'), stream: true });
    const chunks = await Array.fromAsync(stream);
    expect(chunks.map(({ choices }) => choices[0]?.delta.content)).toEqual(['0 ', '1 ', '2 ']);
  });

  it('should have a broken stream raised by the client, after what came', async () => {
    const stream = await client.chat.completions.create({ ...ask('break'), stream: true });
    const seen: unknown[] = [];
    const read = async () => {
      for await (const { choices } of stream) seen.push(choices[0]?.delta.content);
    };
    await expect(read()).rejects.toThrow(APIError);
    expect(seen).toEqual(['0 ', '1 ', '2 ']);
  });

  it.each(['end without a blank line', 'end with the last chunk', 'end without [DONE]'])(
    'should have its answer taken for whole when its stream may %s',
    async (what) => {
      expect(await streamed(what)).toEqual(['0 ', 'stop']);
    },
  );

  it.each(['be cut', 'fail later'])(
    'should have an error raised by the client when its stream may %s',
    async (what) => {
      await expect(streamed(what)).rejects.toThrow(APIError);
    },
  );

  it.each(['fail at once', 'ping and break', 'fail in a body'])(
    'should be stood in for when it may %s with status 200',
    async (what) => {
      expect((await streamed(what, 'guarded'))[0]).toBe('0 1 2 ');
    },
  );

  it('should be stood in for when a whole answer is an error', async () => {
    const { data, response } = await client.chat.completions.create(ask('fail in a body', 'guarded')).withResponse();
    expect(data.choices[0]?.message.content).toBe('did stand in');
    expect(response.headers.get('x-quicksilver-route')).toBe('model; fallback-from=guarded');
  });

  it('should have the refusal in its stream raised with its status', async () => {
    await expect(streamed('refuse in a stream', 'guarded')).rejects.toThrow(BadRequestError);
  });

  it('should get no requests for as long as it asks, and no request wait for it', async () => {
    for (const attempts of ['2', '1']) {
      const { response } = await client.chat.completions.create(ask('limited', 'limited')).withResponse();
      expect(response.headers.get('x-quicksilver-backend')).toBe('spare');
      expect(response.headers.get('x-quicksilver-attempts')).toBe(attempts);
    }
  });

  it('should fill in the middle for the client of Mistral', async () => {
    const mistral = new Mistral({ serverURL: service.url, apiKey: 'client-key' });
    const request = { model: 'large', prompt: 'return ', suffix: '\n' };
    const whole = await mistral.fim.complete(request);
    expect(whole.choices[0]?.message?.content).toBe('a + b');
    const chunks = await Array.fromAsync(await mistral.fim.stream(request));
    expect(chunks.map(({ data }) => data.choices[0]?.delta.content).join('')).toBe('a + b');
  });

  it('should have its text fit the file of an editor, line ends included', async () => {
    const prompt = '// several lines\r\nfunction f() {\r\n  ';
    const body = { model: 'large', prompt, suffix: '\r\n}\r\n', editor: true };
    const { choices } = await client.completions.create(body);
    expect(choices[0]?.text).toBe('a();\r\n  b();');
  });

  it('should have its tokens counted', async () => {
    await client.chat.completions.create(ask('count'));
    const page = await (await fetch(`${service.url}/metrics`)).text();
    const count = Number(/quicksilver_prompt_tokens_total\{backend="big"\} (\d+)/.exec(page)?.[1]);
    expect(count).toBeGreaterThanOrEqual(1000);
  });

  it.each([true, false])('should be let go when the client leaves before an answer with stream: %s', async (stream) => {
    const asked = () => backend.received.filter(({ body }) => body.includes('never begin'));
    const before = asked().length;
    const leaving = new AbortController();
    setTimeout(() => leaving.abort(), 500);
    await expect(
      client.chat.completions.create({ ...ask('never begin'), stream }, { signal: leaving.signal }),
    ).rejects.toThrow();
    await lastOf('never begin')?.closed;
    expect(asked()).toHaveLength(before + 1);
  });

  it('should have a whole answer that takes long read by the client', async () => {
    const { choices } = await client.chat.completions.create(ask('take long'));
    expect(choices[0]?.message.content).toBe('did take long');
  });

  it('should have a failure raised that comes late', async () => {
    await expect(client.chat.completions.create(ask('fail late', 'once'))).rejects.toThrow();
  });

  it('should be let go when the client leaves a stream', async () => {
    const stream = await client.chat.completions.create({ ...ask('endless'), stream: true });
    for await (const _ of stream) break;
    await lastOf('endless')?.closed;
    expect((await client.chat.completions.create(ask('after'))).choices).toHaveLength(1);
  });
});
