/** Forwarding in the real runtime, between the client that most programs use and a backend that misbehaves. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import OpenAI, { APIError, InternalServerError } from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Service, serve } from '../../support/serving.ts';
import { type Received, refuse, type Server, serverThat } from '../backend/server.ts';

const KEY = 'sk-backend-secret';

/** One chunk of a chat stream. */
const chunk = (content: string) =>
  `data: ${JSON.stringify({ id: 'c', object: 'chat.completion.chunk', choices: [{ index: 0, delta: { content } }] })}\n\n`;

describe('a backend behind the service', () => {
  let folder: string;
  let backend: Server;
  let service: Service;
  let client: OpenAI;

  /** The backend does what the text of the last message says. */
  const ask = (what: string) => ({ model: 'large', messages: [{ role: 'user' as const, content: what }] });
  const lastOf = (what: string): Received | undefined => backend.received.findLast(({ body }) => body.includes(what));

  beforeAll(async () => {
    const times = new Map<string, number>();
    backend = await serverThat(async (response, _, { body }) => {
      const { messages, stream } = JSON.parse(body) as { messages: { content: string }[]; stream?: boolean };
      const what = messages.at(-1)!.content;
      times.set(what, (times.get(what) ?? 0) + 1);
      if (what === 'fail') return refuse(response, 500);
      if (what === 'flaky' && times.get(what)! < 3) return refuse(response, 503, { 'retry-after-ms': '5' });
      if (!stream) {
        const message = { role: 'assistant', content: `did ${what}` };
        response.writeHead(200, { 'content-type': 'application/json', 'set-cookie': 'a=b' });
        return void response.end(JSON.stringify({ choices: [{ index: 0, message, finish_reason: 'stop' }] }));
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
    };
    folder = await mkdtemp(join(tmpdir(), 'quicksilver-backend-'));
    await writeFile(join(folder, 'env'), `BIG_KEY=${KEY}\nBACKENDS='${JSON.stringify({ big: settings })}'\n`);
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

  it('should be let go when the client leaves a stream', async () => {
    const stream = await client.chat.completions.create({ ...ask('endless'), stream: true });
    for await (const _ of stream) break;
    await lastOf('endless')?.closed;
    expect((await client.chat.completions.create(ask('after'))).choices).toHaveLength(1);
  });
});
