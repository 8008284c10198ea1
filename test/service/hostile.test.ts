/** Requests of an attacker, or a broken proxy, to the real worker. It refuses or answers them, and keeps running. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { MODELS } from '../../support/models-folder.ts';
import { type Service, serve } from '../../support/serving.ts';
import { chunk, exchange, head, LAST_CHUNK } from './raw-socket.ts';

const TIME_LIMIT_MS = 3_000;

const PATH = '/v1/completions';
const body = (fields: object = {}) => JSON.stringify({ model: 'nano', prompt: 'a = ', max_tokens: 4, ...fields });

describe('the service under attack', () => {
  let folder: string;
  let service: Service;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'quicksilver-hostile-'));
    await writeFile(join(folder, 'env'), `TIME_LIMIT_MS=${TIME_LIMIT_MS}\n`);
    service = await serve(MODELS, ['--env-file', join(folder, 'env')]);
    // Loads the model, which takes longer than the time limit on a busy machine.
    while (!(await fetch(`${service.url}/ready`)).ok) await sleep(200);
  });

  afterAll(async () => {
    await service?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  afterEach(async () => {
    const { status, answer } = await post(body());
    expect(status).toBe(200);
    expect(answer).toMatchObject({ choices: [{ text: expect.any(String) }] });
  });

  async function post(
    sent: string | Uint8Array<ArrayBuffer>,
    path = PATH,
  ): Promise<{ status: number; answer: unknown }> {
    const headers = { 'content-type': 'application/json' };
    const response = await fetch(service.url + path, { method: 'POST', headers, body: sent });
    // Fatal: an answer must be whole UTF-8.
    const text = new TextDecoder('utf-8', { fatal: true }).decode(await response.arrayBuffer());
    return { status: response.status, answer: JSON.parse(text) };
  }

  const refusal = (code: string) => ({ error: { code, message: expect.any(String), type: 'invalid_request_error' } });

  describe('requests that come slowly', () => {
    it('should stop reading a body that never ends, and answer others in the meantime', async () => {
      const drops = Array.from({ length: 40 }, () => ' ');
      const slow = exchange(service.url, [head(PATH, { 'content-length': 9_999 }), ...drops], { pauseMs: 200 });
      expect((await post(body())).status).toBe(200);
      const { status, text } = await slow;
      expect(status).toBe(504);
      expect(text).toContain('"code":"time_limit_exceeded"');
    });

    it('should answer others while many connections send no whole request', async () => {
      const unfinished = Array.from({ length: 200 }, () =>
        exchange(service.url, [head(PATH, {}).trimEnd()], { pauseMs: 1_000, after: 'destroy' }),
      );
      await sleep(500);
      expect((await post(body())).status).toBe(200);
      await Promise.all(unfinished);
    });

    it('should read a body that is cut in the middle of its characters', async () => {
      const bytes = Buffer.from(body({ prompt: 'name = "Zoë 💩 日本" # ' }));
      const parts = Array.from(bytes, (_, at) => chunk(bytes.subarray(at, at + 1)));
      const sent = [head(PATH, { 'transfer-encoding': 'chunked' }), ...parts, LAST_CHUNK];
      const { status, text } = await exchange(service.url, sent, { pauseMs: 2 });
      expect(status).toBe(200);
      expect(text).toContain('"text_completion"');
    });

    it('should live on when the client breaks off', async () => {
      for (let i = 0; i < 20; i++) {
        const sent = [head(PATH, { 'content-length': 200 }), body().slice(0, 30)];
        await exchange(service.url, sent, { pauseMs: 1, after: 'destroy' });
      }
    });
  });

  describe('lengths that are wrong', () => {
    it('should not answer a body that is shorter than it says', async () => {
      const sent = [head(PATH, { 'content-length': body().length + 100 }), body()];
      const { status } = await exchange(service.url, sent, { after: 'end' });
      expect(status ?? 400).toBeGreaterThanOrEqual(400);
    });

    it('should read no more of a body than it says', async () => {
      const sent = [head(PATH, { 'content-length': 10 }), body()];
      const { status, text } = await exchange(service.url, sent);
      expect(status).toBe(400);
      expect(text).toContain('"code":"invalid_json"');
    });

    it.each(['-1', '1e3', '0x10', '99999999999999999999', 'x'])('should refuse the length %s', async (length) => {
      const { status } = await exchange(service.url, [head(PATH, { 'content-length': length }), body()]);
      expect(status).toBe(400);
    });

    it('should refuse a body with two lengths, which a proxy may read in another way', async () => {
      const sent = [
        head(PATH, { 'content-length': body().length, 'transfer-encoding': 'chunked' }),
        LAST_CHUNK,
        body(),
      ];
      const { status } = await exchange(service.url, sent);
      expect(status).toBe(400);
    });
  });

  describe('what is too large', () => {
    const large = Buffer.from(body({ prompt: 'x'.repeat(10 * 1024 * 1024) }));

    it.each([PATH, '/infill', '/v1/fim/completions'])('should refuse a prompt of 10 MB to %s', async (path) => {
      expect(await post(large, path)).toMatchObject({ status: 413, answer: refusal('request_too_large') });
    });

    it('should refuse a prompt of 10 MB that does not say how large it is', async () => {
      const sent = [head(PATH, { 'transfer-encoding': 'chunked' }), chunk(large), LAST_CHUNK];
      const { status, text } = await exchange(service.url, sent);
      expect(status).toBe(413);
      expect(text).toContain('"code":"request_too_large"');
    });

    it('should refuse a body that is too large and then does not end', async () => {
      const sent = [head(PATH, { 'transfer-encoding': 'chunked' }), chunk(large.subarray(0, 1024 * 1024))];
      const { status } = await exchange(service.url, sent);
      expect(status).toBe(413);
    });

    it('should refuse a header of 1 MB', async () => {
      const sent = [head(PATH, { 'x-large': 'x'.repeat(1024 * 1024), 'content-length': body().length }), body()];
      const { status } = await exchange(service.url, sent);
      expect(status ?? 431).toBeOneOf([400, 413, 431]);
    });

    it('should answer or refuse a request with 10,000 headers', async () => {
      const many = Object.fromEntries(Array.from({ length: 10_000 }, (_, i) => [`x-${i}`, i]));
      const { status } = await exchange(service.url, [
        head(PATH, { ...many, 'content-length': body().length }),
        body(),
      ]);
      expect(status ?? 431).toBeOneOf([200, 400, 413, 431]);
    });

    it.each([
      ['arrays', '['.repeat(100_000)],
      ['arrays that are closed', '['.repeat(100_000) + ']'.repeat(100_000)],
      ['objects', `${'{"a":'.repeat(30_000)}1${'}'.repeat(30_000)}`],
    ])('should refuse a prompt of deeply nested %s', async (_, nested) => {
      const { status, answer } = await post(`{"model":"nano","prompt":${nested}}`);
      expect({ status, answer }).toMatchObject({ status: 400, answer: { error: { type: 'invalid_request_error' } } });
    });
  });

  describe('what is compressed', () => {
    const headers = { 'content-type': 'application/json', 'content-encoding': 'gzip' };
    const send = async (sent: Uint8Array<ArrayBuffer>) => {
      const response = await fetch(service.url + PATH, { method: 'POST', headers, body: sent });
      return { status: response.status, answer: await response.json() };
    };

    it('should read what is as small as any other', async () => {
      expect(await send(new Uint8Array(gzipSync(body())))).toMatchObject({ status: 200 });
    });

    it('should refuse what becomes large, time after time', async () => {
      const bomb = new Uint8Array(gzipSync(Buffer.alloc(200 * 1024 * 1024, ' ')));
      for (let i = 0; i < 5; i++) {
        expect(await send(bomb)).toMatchObject({ status: 413, answer: refusal('request_too_large') });
      }
    });

    it('should refuse what is not compressed at all', async () => {
      const sent = new TextEncoder().encode(body());
      expect(await send(sent)).toMatchObject({ status: 400, answer: refusal('invalid_encoding') });
    });
  });

  describe('text that is none', () => {
    it.each([
      ['lone surrogates', '{"model":"nano","prompt":"a\\ud800b","suffix":"\\udc00","max_tokens":8,"stop":"\\udfff"}'],
      ['a lone surrogate that is echoed', '{"model":"nano","prompt":"\\ud83d","max_tokens":4,"echo":true}'],
      ['NUL bytes', body({ prompt: 'a\0b\0', suffix: '\0', stop: ['\0'] })],
      ['control characters', body({ prompt: '\u001b[2J\u0007\u202e\ufeff\uffff' })],
      ['no text but marks', body({ prompt: '\u0301'.repeat(500) })],
      ['markers of the model', body({ prompt: '<|mask|><|eom|><|pad|><|prefix|><|suffix|><|endoftext|>' })],
    ])('should complete %s in whole UTF-8', async (_, sent) => {
      expect(await post(sent)).toMatchObject({ status: 200, answer: { choices: [{ text: expect.any(String) }] } });
    });

    it.each([
      ['bytes that are not UTF-8', [0xff, 0xfe, 0xc0, 0x80, 0xed, 0xa0, 0x80]],
      ['half a character', [0xf0, 0x9f]],
    ])('should read %s as unknown characters', async (_, bytes) => {
      const [before, after] = body({ prompt: '@' }).split('@') as [string, string];
      const sent = Buffer.concat([Buffer.from(before), Uint8Array.from(bytes), Buffer.from(after)]);
      expect(await post(sent)).toMatchObject({ status: 200 });
    });

    it('should refuse a NUL byte outside of a string', async () => {
      expect(await post(`${body()}\0`)).toMatchObject({ status: 400, answer: refusal('invalid_json') });
    });

    it.each([
      ['no HTTP', 'hello\r\n\r\n'],
      ['TLS', Uint8Array.from([0x16, 0x03, 0x01, 0x00, 0xa5, 0x01, 0x00, 0x00, 0xa1, 0x03, 0x03])],
      ['another version', 'POST /v1/completions HTTP/9.9\r\n\r\n'],
    ])('should refuse %s', async (_, sent) => {
      const { status } = await exchange(service.url, [sent], { after: 'end' });
      expect(status ?? 400).toBeOneOf([400, 501, 505]);
    });
  });
});
