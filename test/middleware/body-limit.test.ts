import { Hono } from 'hono';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { ApiError } from '../../src/http/errors.ts';
import { bodyLimit } from '../../src/middleware/body-limit.ts';

const MAX_BYTES = 16;

/** A body in parts that does not say its length; `taken` counts the parts that were asked for. */
function streamed(parts: Iterable<Uint8Array | Promise<Uint8Array>>) {
  const source = parts[Symbol.iterator]();
  const state = { taken: 0, cancelled: false };
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { done, value } = source.next();
        if (done) return controller.close();
        state.taken++;
        controller.enqueue(await value);
      },
      cancel() {
        state.cancelled = true;
      },
    },
    { highWaterMark: 0 },
  );
  return { body, state };
}

const app = new Hono();
app.use(bodyLimit({ maxBytes: MAX_BYTES }));
app.post('/', async (c) => c.text(await c.req.text()));
app.get('/', (c) => c.text('no body'));
app.onError((error, c) => c.text((error as ApiError).code ?? '', (error as ApiError).status as 413));

const post = (body: BodyInit, headers: Record<string, string> = {}) =>
  app.request('/', { method: 'POST', body, headers, duplex: 'half' } as RequestInit);

const bytes = (count: number) => new Uint8Array(count).fill(0x61);

describe('bodyLimit', () => {
  afterEach(() => {
    vi.useRealTimers();
  });

  it.each([1, MAX_BYTES])('should hand on a body of %i bytes', async (count) => {
    const expected = 'a'.repeat(count);
    expect(await (await post(expected)).text()).toBe(expected);
    expect(await (await post(expected, { 'content-length': String(count) })).text()).toBe(expected);
    const { body } = streamed(Array.from({ length: count }, () => bytes(1)));
    expect(await (await post(body)).text()).toBe(expected);
  });

  it('should hand on a request without a body', async () => {
    expect(await (await app.request('/')).text()).toBe('no body');
  });

  it('should answer 413 one byte beyond', async () => {
    const announced = await post(bytes(MAX_BYTES + 1), { 'content-length': String(MAX_BYTES + 1) });
    const counted = await post(streamed([bytes(MAX_BYTES), bytes(1)]).body);
    for (const response of [announced, counted]) {
      expect([response.status, await response.text()]).toEqual([413, 'request_too_large']);
    }
  });

  it('should count the bytes that arrive, whatever length is declared with a transfer encoding', async () => {
    const response = await post(streamed([bytes(MAX_BYTES + 1)]).body, {
      'content-length': '1',
      'transfer-encoding': 'chunked',
    });
    expect(response.status).toBe(413);
  });

  it('should read a refused body to its end, so that the sender reads the answer', async () => {
    const { body, state } = streamed(Array.from({ length: 50 }, () => bytes(1000)));
    expect((await post(body)).status).toBe(413);
    expect(state).toEqual({ taken: 50, cancelled: false });
  });

  it('should stop reading a body without an end', async () => {
    const megabyte = bytes(2 ** 20);
    const { body, state } = streamed(
      (function* () {
        for (;;) yield megabyte;
      })(),
    );
    expect((await post(body)).status).toBe(413);
    expect(state.cancelled).toBe(true);
    expect(state.taken).toBeGreaterThan(30);
    expect(state.taken).toBeLessThan(40);
  });

  it('should stop reading a body that stalls', async () => {
    vi.useFakeTimers();
    const { body, state } = streamed([bytes(100), new Promise<Uint8Array>(() => {})]);
    const answer = post(body);
    await vi.advanceTimersByTimeAsync(10_000);
    expect((await answer).status).toBe(413);
    expect(state.taken).toBe(2);
  });

  it('should refuse a body that breaks off beyond the limit', async () => {
    const { body } = streamed([bytes(100), Promise.reject(new Error('gone'))]);
    expect((await post(body)).status).toBe(413);
  });
});
