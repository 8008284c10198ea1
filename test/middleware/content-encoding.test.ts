import { promisify } from 'node:util';
import { deflate, gzip } from 'node:zlib';
import { Hono } from 'hono';
import { describe, expect, it } from 'vitest';
import type { ApiError } from '../../src/http/errors.ts';
import { contentEncoding } from '../../src/middleware/content-encoding.ts';

const MAX_BYTES = 1000;

const app = new Hono();
app.use(contentEncoding({ maxBytes: MAX_BYTES }));
app.post('/', async (c) => c.json([await c.req.text(), c.req.header('content-encoding') ?? null]));
app.onError((error, c) => {
  const { code, status, headers } = error as ApiError;
  return c.text(code ?? '', status as 400, headers);
});

const zip = { gzip: promisify(gzip), deflate: promisify(deflate) };
const post = (body: BodyInit, encoding: string) =>
  app.request('/', { method: 'POST', body, headers: { 'content-encoding': encoding } });
const bytes = (buffer: Buffer) => new Uint8Array(buffer);

describe('contentEncoding', () => {
  it.each(['gzip', 'deflate'] as const)('should hand on what was sent as %s, as it was before', async (encoding) => {
    const text = 'näme = "💩"\n'.repeat(50);
    const response = await post(bytes(await zip[encoding](text)), encoding);
    expect(await response.json()).toEqual([text, null]);
  });

  it('should hand on what is not encoded, or says that it is not', async () => {
    expect(await (await app.request('/', { method: 'POST', body: 'a' })).json()).toEqual(['a', null]);
    expect(await (await post('a', 'identity')).json()).toEqual(['a', 'identity']);
  });

  it('should take a body of the limit, and refuse one of a byte more', async () => {
    expect((await post(bytes(await zip.gzip('x'.repeat(MAX_BYTES))), 'gzip')).status).toBe(200);
    const response = await post(bytes(await zip.gzip('x'.repeat(MAX_BYTES + 1))), 'gzip');
    expect([response.status, await response.text()]).toEqual([413, 'request_too_large']);
  });

  it('should refuse what becomes a thousand times as large, without making it', async () => {
    const response = await post(bytes(await zip.gzip(Buffer.alloc(200 * 2 ** 20))), 'gzip');
    expect([response.status, await response.text()]).toEqual([413, 'request_too_large']);
  });

  it('should refuse an encoding that it does not read, and name those that it does', async () => {
    for (const encoding of ['br', 'zstd', 'gzip, gzip', 'constructor']) {
      const response = await post('a', encoding);
      expect([response.status, await response.text()]).toEqual([415, 'unsupported_media_type']);
      expect(response.headers.get('accept-encoding')).toBe('gzip, deflate, identity');
    }
  });

  it('should refuse what is damaged, cut, or something else', async () => {
    const whole = bytes(await zip.gzip('{"a":1}'.repeat(20)));
    const damaged = whole.slice();
    damaged[20]! ^= 0xff;
    for (const body of [damaged, whole.slice(0, -6), 'a', new Uint8Array([...whole, 1])]) {
      const response = await post(body, 'gzip');
      expect([response.status, await response.text()]).toEqual([400, 'invalid_encoding']);
    }
  });
});
