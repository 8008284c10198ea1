import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { errorOf, post } from '../support/requests.ts';
import { answerJson, refuse, STREAM, writeEvents } from './server.ts';
import { appWith, CHAT, open, PATIENT, quick, serviceWith, tidyUp } from './support.ts';

tidyUp();

const streamed = { stream: true };

/** The error of the last event, after what came before it. */
function lastError(text: string): { before: string; error: { type: string; code: string; message: string } } {
  const start = text.lastIndexOf('data: {"error"');
  if (start < 0 || !text.endsWith('\n\n')) throw new Error(`does not end with an error event: ${text}`);
  return { before: text.slice(0, start), ...JSON.parse(text.slice(start + 'data: '.length)) };
}

describe('a stream', () => {
  it('should come through byte for byte, whatever its chunks and line ends are', async () => {
    const bytes = Buffer.from(STREAM.join(''));
    for (const size of [1, 2, 3, 7, bytes.length]) {
      const { chat, server } = await serviceWith(async (response) => {
        const chunks = Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
          bytes.subarray(i * size, (i + 1) * size),
        );
        await writeEvents(response, chunks, 0);
        response.end();
      });
      const response = await chat(streamed);
      expect(response.headers.get('content-type')).toBe('text/event-stream');
      expect(response.headers.get('cache-control')).toContain('no-transform');
      expect(response.headers.get('x-quicksilver-backend')).toBe('big');
      expect(Buffer.from(await response.arrayBuffer())).toEqual(bytes);
      expect(server.received[0]?.headers).toMatchObject({ accept: 'text/event-stream', 'accept-encoding': 'identity' });
    }
  });

  it('should be passed on event by event while the backend still writes', async () => {
    const release = Promise.withResolvers<void>();
    const { chat } = await serviceWith(async (response) => {
      await writeEvents(response, STREAM.slice(0, 2));
      await release.promise;
      response.end(STREAM.slice(2).join(''));
    });
    const reader = (await chat(streamed)).body!.pipeThrough(new TextDecoderStream()).getReader();
    let text = '';
    while (text.length < STREAM[0]!.length + STREAM[1]!.length) text += (await reader.read()).value;
    expect(text).toBe(STREAM.slice(0, 2).join(''));
    release.resolve();
    for (let read = await reader.read(); !read.done; read = await reader.read()) text += read.value;
    expect(text).toBe(STREAM.join(''));
  });

  it('should have comments where the backend is silent, between events only', async () => {
    const { chat } = await serviceWith(
      async (response) => {
        await writeEvents(response, ['data: 1\n\nda', 'ta: 2\n\n'], 60);
        response.end();
      },
      { keep_alive_ms: 20 },
    );
    const text = await (await chat(streamed)).text();
    expect(text).toMatch(/^data: 1\n\n(: keep-alive\n\n)+data: 2\n\n(: keep-alive\n\n)*$/);
  });

  it('should be retried until its first byte, and never after it', async () => {
    const { chat, server } = await serviceWith(async (response, n) => {
      if (n === 1) return refuse(response, 503);
      response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders();
      if (n === 2) return void setTimeout(() => response.destroy(), 5);
      response.write(STREAM[1]);
      await sleep(5);
      response.destroy();
    });
    const response = await chat(streamed);
    expect(response.headers.get('x-quicksilver-attempts')).toBe('3');
    const { before, error } = lastError(await response.text());
    expect(before).toBe(STREAM[1]);
    expect(error).toMatchObject({ type: 'server_error', code: 'backend_unreachable' });
    expect(server.received).toHaveLength(3);
  });
});

describe('a stream that breaks', () => {
  it.each([
    ['resets in the middle of an event', 'data: {"cho'],
    ['resets between the two halves of a line end', 'data: 1\r'],
  ])('should end with an error event of its own when it %s', async (_, half) => {
    const { chat } = await serviceWith(async (response) => {
      await writeEvents(response, [STREAM[1]!, half], 5);
      response.destroy();
    });
    expect(lastError(await (await chat(streamed)).text()).before).toBe(STREAM[1]);
  });

  it('should end with an error event when it is closed in the middle of an event', async () => {
    const { chat } = await serviceWith(async (response) => {
      await writeEvents(response, [STREAM[1]!, 'data: {"cho']);
      response.end();
    });
    const { before, error } = lastError(await (await chat(streamed)).text());
    expect(before).toBe(STREAM[1]);
    expect(error.code).toBe('backend_unreachable');
  });

  it('should end with an error event when it stalls, and the backend is let go', async () => {
    const { chat, server } = await serviceWith((response) => writeEvents(response, [STREAM[1]!]), {
      ...PATIENT,
      idle_timeout_ms: 40,
    });
    const { before, error } = lastError(await (await chat(streamed)).text());
    expect(before).toBe(STREAM[1]);
    expect(error.code).toBe('backend_timeout');
    await server.received[0]?.closed;
  });

  it('should end with an error event when it drips for longer than the total', async () => {
    const { chat, server } = await serviceWith(
      (response) => {
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        const drip = setInterval(() => response.write('data: 1\n\n'), 5);
        response.on('close', () => clearInterval(drip));
      },
      { total_timeout_ms: 80 },
    );
    expect(lastError(await (await chat(streamed)).text()).error.code).toBe('backend_timeout');
    await server.received[0]?.closed;
  });

  it('should end with an error event when it is larger than the bound', async () => {
    const { chat, server } = await serviceWith(
      async (response) => {
        response.on('error', () => {});
        await writeEvents(response, Array(50).fill(`data: ${'a'.repeat(100)}\n\n`), 0);
      },
      { max_response_bytes: 1000 },
    );
    const { before, error } = lastError(await (await chat(streamed)).text());
    expect(before.length).toBeLessThanOrEqual(1000);
    expect(error.code).toBe('backend_answer_too_large');
    await server.received[0]?.closed;
  });

  it('should count against the circuit', async () => {
    const { chat } = await serviceWith(
      async (response) => {
        await writeEvents(response, [STREAM[1]!], 5);
        response.destroy();
      },
      { breaker_failures: 1 },
    );
    await (await chat(streamed)).text();
    expect(await errorOf(await chat(streamed))).toMatchObject({ status: 503, code: 'backend_unavailable' });
  });
});

describe('a stream that does not begin', () => {
  it('should be given to the next backend after a stall behind the headers', async () => {
    const second = await open(async (response) => {
      await writeEvents(response, STREAM);
      response.end();
    });
    const first = await open((response) =>
      response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders(),
    );
    const app = appWith({
      big: quick(first.url, { models: ['large'], first_byte_timeout_ms: 40, fallback: ['second'] }),
      second: quick(second.url, { models: ['other'] }),
    });
    const response = await post(app, CHAT, { model: 'large', ...streamed });
    expect(await response.text()).toBe(STREAM.join(''));
    expect(response.headers.get('x-quicksilver-backend')).toBe('second');
    await first.received[0]?.closed;
  });

  it('should be refused when it is empty, or no event stream', async () => {
    const { chat } = await serviceWith((response, n) =>
      n === 1 ? void response.writeHead(200, { 'content-type': 'text/event-stream' }).end() : answerJson(response),
    );
    for (const _ of [1, 2]) {
      expect(await errorOf(await chat(streamed))).toMatchObject({ status: 502, code: 'backend_bad_answer' });
    }
  });
});

describe('a client that leaves a stream', () => {
  const endless = async (response: Parameters<typeof writeEvents>[0]) => {
    await writeEvents(response, [STREAM[1]!]);
  };

  it('should take the connection to the backend with it, and not count against the circuit', async () => {
    const { chat, server } = await serviceWith(endless, { ...PATIENT, breaker_failures: 1 });
    const reader = (await chat(streamed)).body!.getReader();
    await reader.read();
    await reader.cancel();
    await server.received[0]?.closed;
    expect((await chat(streamed)).status).toBe(200);
  });

  it('should do so too when only its request is aborted', async () => {
    const client = new AbortController();
    const { chat, server } = await serviceWith(endless, PATIENT);
    await (await chat(streamed, { signal: client.signal })).body!.getReader().read();
    client.abort();
    await server.received[0]?.closed;
    expect(server.received).toHaveLength(1);
  });
});
