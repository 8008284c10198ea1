import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { errorOf, post } from '../support/requests.ts';
import { answerJson, refuse, STREAM, writeEvents } from './server.ts';
import { appWith, CHAT, KEY, open, PATIENT, quick, serviceWith, tidyUp } from './support.ts';

tidyUp();

const streamed = { stream: true };

/** The error of the last event, after what came before it. */
function lastError(text: string): { before: string; error: { type: string; code: string; message: string } } {
  const start = text.lastIndexOf('data: {"error"');
  if (start < 0 || !text.endsWith('\n\n')) throw new Error(`does not end with an error event: ${text}`);
  return { before: text.slice(0, start), ...JSON.parse(text.slice(start + 'data: '.length)) };
}

describe('a stream', () => {
  it('should be passed on byte for byte, with any chunks and line ends', async () => {
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
    const commented = Promise.withResolvers<void>();
    const { chat } = await serviceWith(
      async (response) => {
        await writeEvents(response, ['data: 1\n\nda']);
        await commented.promise;
        response.end('ta: 2\n\n');
      },
      { keep_alive_ms: 20 },
    );
    let text = '';
    for await (const piece of (await chat(streamed)).body!.pipeThrough(new TextDecoderStream())) {
      text += piece;
      if (text.includes(': keep-alive')) commented.resolve();
    }
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
      { total_timeout_ms: 1_000 },
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

/** Chunks as backends send them. */
const chunkOf = (choice: object) => `data: ${JSON.stringify({ choices: [{ index: 0, ...choice }] })}\n\n`;
const ROLE = chunkOf({ delta: { role: 'assistant', content: '' }, finish_reason: null });
const TEXT = chunkOf({ delta: { content: 'h' }, finish_reason: null });
const STOP = chunkOf({ delta: {}, finish_reason: 'stop' });
const DONE = 'data: [DONE]\n\n';

describe('the end of a stream', () => {
  const endsWith = (parts: readonly string[], settings = {}) =>
    serviceWith(async (response) => {
      await writeEvents(response, parts, 0);
      response.end();
    }, settings);

  it.each([
    ['[DONE] without a blank line', [TEXT, STOP, 'data: [DONE]\n'], '\n'],
    ['[DONE] without a line end', [TEXT, 'data: [DONE]'], '\n\n'],
    ['the last chunk without a blank line', [TEXT, STOP.slice(0, -1)], '\n'],
    ['the last chunk without a line end', [TEXT, STOP.slice(0, -2)], '\n\n'],
    ['the last chunk without a blank line, with CR LF', [TEXT, `${STOP.slice(0, -2)}\r\n`], '\n'],
    ['a finish_reason and no [DONE]', [TEXT, STOP], ''],
    ['[DONE] and no finish_reason', [TEXT, DONE], ''],
    ['a comment after the end', [TEXT, STOP, ': bye\n'], '\n'],
    ['half an event behind [DONE]', [TEXT, DONE, ': by'], undefined],
  ])('should be passed on whole when it is %s', async (_, parts, closing) => {
    const { chat } = await endsWith(parts, { breaker_failures: 1 });
    const text = await (await chat(streamed)).text();
    if (closing === undefined) expect(text).toBe(parts.slice(0, -1).join(''));
    else expect(text).toBe(parts.join('') + closing);
    expect((await chat(streamed)).status).toBe(200);
  });

  it('should end without waiting when the backend keeps the connection open after [DONE]', async () => {
    const { chat, server } = await serviceWith((response) => writeEvents(response, [TEXT, DONE]), {
      ...PATIENT,
      keep_alive_ms: 30,
    });
    const text = await (await chat(streamed)).text();
    expect(text.replaceAll(': keep-alive\n\n', '')).toBe(TEXT + DONE);
    await server.received[0]?.closed;
  });

  it('should be an error where no finish_reason and no [DONE] came', async () => {
    const { chat } = await endsWith([TEXT]);
    const { before, error } = lastError(await (await chat(streamed)).text());
    expect(before).toBe(TEXT);
    expect(error).toMatchObject({ type: 'server_error', code: 'backend_unreachable' });
  });

  it('should be an error while one of several choices has not ended', async () => {
    const { chat } = await endsWith([TEXT, chunkOf({ index: 1, delta: { content: 'x' } }), STOP]);
    expect(lastError(await (await chat(streamed)).text()).error.code).toBe('backend_unreachable');
  });

  it('should open the circuit when it is an error as often as it takes, and not while text comes', async () => {
    const { chat, server } = await serviceWith(
      async (response, n) => {
        await writeEvents(response, n === 3 ? [TEXT, STOP] : [TEXT], 5);
        if (n === 3) response.end();
        else response.destroy();
      },
      { breaker_failures: 3 },
    );
    for (let i = 0; i < 6; i++) expect(await (await chat(streamed)).text()).toContain('"h"');
    expect(await errorOf(await chat(streamed))).toMatchObject({ status: 503, code: 'backend_unavailable' });
    expect(server.received).toHaveLength(6);
  });
});

describe('an error within a stream', () => {
  const errorEvent = (error: object) => `data: ${JSON.stringify({ error })}\n\n`;

  /** The service with a fallback that answers, and a first backend that sends these events. */
  async function withFallback(parts: readonly string[], settings: object = {}) {
    const first = await open(async (response) => {
      await writeEvents(response, parts, 0);
      response.end();
    });
    const second = await open(async (response) => {
      await writeEvents(response, STREAM, 0);
      response.end();
    });
    const app = appWith({
      big: quick(first.url, { models: ['large'], retries: 1, fallback: ['second'], ...settings }),
      second: quick(second.url, { models: ['other'] }),
    });
    return { first, second, ask: () => post(app, CHAT, { model: 'large', ...streamed }) };
  }

  it.each([
    ['as its first event', [errorEvent({ message: 'a', code: 500 }), DONE]],
    ['behind comments and the role', [': ping\n\n', ROLE, errorEvent({ message: 'a', type: 'overloaded_error' })]],
    ['of the type error', ['event: error\ndata: {"message":"a","code":503}\n\n']],
    ['as its only choice', [chunkOf({ error: { code: 502, message: 'a' }, finish_reason: 'error' })]],
  ])('should be retried and given to the next backend %s', async (_, parts) => {
    const { first, ask } = await withFallback(parts);
    const response = await ask();
    expect(await response.text()).toBe(STREAM.join(''));
    expect(response.headers.get('x-quicksilver-route')).toBe('model; fallback-from=big');
    expect(first.received).toHaveLength(2);
  });

  it('should be the refusal that it says, which no other backend is asked about', async () => {
    const { first, second, ask } = await withFallback([
      errorEvent({ message: 'too long', code: 400, param: 'messages', type: 'BadRequestError' }),
      DONE,
    ]);
    expect(await errorOf(await ask())).toEqual({
      status: 400,
      message: 'too long',
      type: 'BadRequestError',
      param: 'messages',
      code: 'backend_refused_request',
    });
    expect([first.received.length, second.received.length]).toEqual([1, 0]);
  });

  it('should be reported in our own words after text, without our key, and count for the circuit', async () => {
    const { ask } = await withFallback([TEXT, errorEvent({ message: `the key ${KEY} died`, code: 500 }), DONE], {
      breaker_failures: 1,
    });
    const text = await (await ask()).text();
    expect(text).not.toContain(KEY);
    const { before, error } = lastError(text);
    expect(before).toBe(TEXT);
    expect(error).toEqual({
      message: "The backend 'big' failed with status 500.",
      type: 'server_error',
      param: null,
      code: 'backend_error',
    });
    expect((await ask()).headers.get('x-quicksilver-route')).toBe('model; fallback-from=big');
  });

  it('should be noticed after text when both arrive together', async () => {
    const { ask } = await withFallback([TEXT + errorEvent({ message: 'a', code: 500 }) + DONE]);
    expect(lastError(await (await ask()).text())).toMatchObject({ before: TEXT, error: { code: 'backend_error' } });
  });

  it('should be found in a body that is no stream', async () => {
    const { chat } = await serviceWith((response) => answerJson(response, '{"error":{"message":"no","code":404}}'));
    expect(await errorOf(await chat(streamed))).toMatchObject({ status: 404, message: 'no' });
  });
});

describe('the first byte of a stream', () => {
  it.each([
    ['a ping and a reset', [': ping\n\n'], true],
    ['a role and a reset', [ROLE], true],
    ['a role and an end', [ROLE], false],
    ['nothing but pings', [': ping\n\n', 'event: ping\ndata: {}\n\n', 'data:\n\n'], false],
    ['nothing but its end', [': ping\n\n', DONE], false],
  ])('should be text: %s leave the request to the next backend', async (_, parts, resets) => {
    const first = await open(async (response) => {
      await writeEvents(response, parts, 5);
      if (resets) response.destroy();
      else response.end();
    });
    const second = await open(async (response) => {
      await writeEvents(response, STREAM, 0);
      response.end();
    });
    const app = appWith({
      big: quick(first.url, { models: ['large'], retries: 0, fallback: ['second'] }),
      second: quick(second.url, { models: ['other'] }),
    });
    const response = await post(app, CHAT, { model: 'large', ...streamed });
    expect(await response.text()).toBe(STREAM.join(''));
    expect(response.headers.get('x-quicksilver-backend')).toBe('second');
  });

  /** Comments without an end. */
  const pinging = (lead: string) => (response: Parameters<typeof writeEvents>[0]) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(lead);
    const pings = setInterval(() => response.write(': ping\n\n'), 5);
    response.on('close', () => clearInterval(pings));
  };

  it('should be waited for no longer because of pings', async () => {
    const { chat, server } = await serviceWith(pinging(''), { ...PATIENT, first_byte_timeout_ms: 60 });
    expect(await errorOf(await chat(streamed))).toMatchObject({ status: 504, code: 'backend_timeout' });
    await server.received[0]?.closed;
  });

  it('should not be followed by silence for longer because of pings', async () => {
    const { chat, server } = await serviceWith(pinging(TEXT), { ...PATIENT, idle_timeout_ms: 60 });
    const { before, error } = lastError(await (await chat(streamed)).text());
    expect(before).toMatch(/^data: .*"h".*\n\n(: ping\n\n)+$/);
    expect(error.code).toBe('backend_timeout');
    await server.received[0]?.closed;
  });

  it('should be preceded by comments after a while, and still come from the next backend', async () => {
    const first = await open(async (response) => {
      await sleep(3_300);
      response.destroy();
    });
    const second = await open(async (response) => {
      await writeEvents(response, STREAM, 0);
      response.end();
    });
    const app = appWith({
      big: quick(first.url, { models: ['large'], retries: 0, fallback: ['second'] }),
      second: quick(second.url, { models: ['other'] }),
    });
    const response = await post(app, CHAT, { model: 'large', ...streamed });
    expect(response.headers.get('x-quicksilver-route')).toBe('model; pending');
    expect(response.headers.has('x-quicksilver-attempts')).toBe(false);
    expect(await response.text()).toMatch(/^(: keep-alive\n\n)*: comment/);
  });

  it('should be an error event when nothing comes after a while', async () => {
    const { chat } = await serviceWith(() => {}, { ...PATIENT, first_byte_timeout_ms: 3_300 });
    const response = await chat(streamed);
    expect(response.status).toBe(200);
    expect(lastError(await response.text()).error.code).toBe('backend_timeout');
  });

  it('should not be waited for by a client that has left', async () => {
    const { chat, server } = await serviceWith(() => {}, PATIENT);
    const reader = (await chat(streamed)).body!.getReader();
    await reader.cancel();
    await server.received[0]?.closed;
    expect(server.received).toHaveLength(1);
  });
});

describe('a stream that does not begin', () => {
  it('should go to the next backend after a stall that follows the headers', async () => {
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
