import { describe, expect, it, vi } from 'vitest';
import { errorOf, post } from '../support/requests.ts';
import { ANSWER, answerJson, refuse, stallForever } from './server.ts';
import { appWith, CHAT, KEY, open, PATIENT, quick, serviceWith, tidyUp } from './support.ts';

tidyUp();

const attemptsOf = (response: Response) => response.headers.get('x-quicksilver-attempts');

describe('a whole answer', () => {
  it('should come back byte for byte, with headers that say who answered and why', async () => {
    const { chat, server } = await serviceWith((response) => answerJson(response));
    const response = await chat();
    expect(response.status).toBe(200);
    expect(await response.text()).toBe(ANSWER);
    expect(response.headers.get('content-type')).toBe('application/json');
    expect(response.headers.get('x-quicksilver-backend')).toBe('big');
    expect(response.headers.get('x-quicksilver-route')).toBe('default');
    expect(attemptsOf(response)).toBe('1');
    expect(server.received.map(({ path }) => path)).toEqual(['/v1/chat/completions']);
  });

  it('should be asked for with the very bytes of the client when the model keeps its name', async () => {
    const { app, server } = await serviceWith((response) => answerJson(response));
    const body = '{ "model":"large",\n "messages":[], "unknown_field": 1.50 }';
    await post(app, CHAT, body);
    expect(server.received[0]?.body).toBe(body);
  });

  it('should be asked for under another name with no other byte changed', async () => {
    const { app, server } = await serviceWith((response) => answerJson(response), {
      aliases: { tiny: '/models/tiny' },
    });
    const odd =
      '{"seed":18446744073709551615, "model" : "tiny","x":9007199254740993,"f":1.0,"e":1e400,"s":"\\u00e9\\/", "messages":[{"model":"tiny"}]}';
    await post(app, CHAT, odd);
    expect(server.received[0]?.body).toBe(odd.replace('"model" : "tiny"', '"model" : "/models/tiny"'));
  });

  it('should be a failure when it holds one, with the code that it says', async () => {
    const failed = (code: unknown) => JSON.stringify({ error: { message: 'm', code } });
    const { chat, server } = await serviceWith(
      (response, n) => answerJson(response, failed([504, 'overloaded', '429', 400, 401][n - 1])),
      { retries: 0 },
    );
    const seen = [];
    for (let i = 0; i < 5; i++) seen.push(await errorOf(await chat()));
    expect(seen.map(({ status, code }) => [status, code])).toEqual([
      [502, 'backend_error'],
      [502, 'backend_error'],
      [429, 'rate_limit_exceeded'],
      [400, 'backend_refused_request'],
      [502, 'backend_refused_key'],
    ]);
    expect(server.received).toHaveLength(5);
  });

  it('should be retried, carried to the next backend and counted against the circuit when it holds a failure', async () => {
    const second = await open((response) => answerJson(response));
    const { server } = await serviceWith((response) => answerJson(response, '{"error":{"message":"m","code":504}}'));
    const app = appWith({
      big: quick(server.url, { models: ['large'], retries: 1, breaker_failures: 2, fallback: ['second'] }),
      second: quick(second.url, { models: ['other'] }),
    });
    for (const attempts of ['3', '1']) {
      const response = await post(app, CHAT, { model: 'large' });
      expect(await response.text()).toBe(ANSWER);
      expect(response.headers.get('x-quicksilver-backend')).toBe('second');
      expect(attemptsOf(response)).toBe(attempts);
    }
    expect(server.received).toHaveLength(2);
  });

  it.each(['null', '"text"', '[]', '{}', '{"id":"1"}'])('should be refused when it is %s', async (text) => {
    const { chat } = await serviceWith((response) => answerJson(response, text));
    expect(await errorOf(await chat())).toMatchObject({ status: 502, code: 'backend_bad_answer' });
  });

  it('should be refused when it is larger than the bound, declared or not', async () => {
    const { chat } = await serviceWith(
      (response, n) => {
        response.writeHead(200, { 'content-type': 'application/json', ...(n === 1 && { 'content-length': '2000' }) });
        response.end(JSON.stringify('a'.repeat(1998)));
      },
      { max_response_bytes: 1000 },
    );
    for (const _ of [1, 2]) {
      expect(await errorOf(await chat())).toMatchObject({ status: 502, code: 'backend_answer_too_large' });
    }
  });

  it.each([
    ['text/html', '<html>'],
    ['application/json', '{"choices": ['],
  ])('should be refused when it is %s with %s', async (contentType, text) => {
    const { chat, server } = await serviceWith((response) =>
      answerJson(response, text, { 'content-type': contentType }),
    );
    expect(await errorOf(await chat())).toMatchObject({
      status: 502,
      type: 'server_error',
      code: 'backend_bad_answer',
    });
    expect(server.received).toHaveLength(1);
  });

  it('should not be looked for where a redirect points', async () => {
    const elsewhere = await open((response) => answerJson(response));
    const { chat } = await serviceWith((response) => {
      response.writeHead(307, { location: `${elsewhere.url}/chat/completions` }).end();
    });
    expect(await errorOf(await chat())).toMatchObject({ status: 502, code: 'backend_bad_answer' });
    expect(elsewhere.received).toEqual([]);
  });
});

describe('what is sent and what comes back', () => {
  it('should hold no header of the client but the key of the service', async () => {
    const { app, server } = await serviceWith((response) => answerJson(response));
    await post(
      app,
      CHAT,
      { model: 'large' },
      {
        headers: {
          'content-type': 'application/json',
          authorization: 'Bearer client-key',
          'x-api-key': 'client-key',
          cookie: 'session=client-key',
          'x-forwarded-for': '127.0.0.1',
          'cf-connecting-ip': '127.0.0.1',
          'cf-ray': 'ray-1',
          'x-request-id': 'req-1',
          'x-internal': 'yes',
        },
      },
    );
    const { authorization, ...headers } = server.received[0]!.headers;
    expect(authorization).toBe(`Bearer ${KEY}`);
    expect(JSON.stringify(headers)).not.toMatch(/client-key|forwarded|connecting|ray-1|req-1|internal|cookie/);
    expect(headers).toMatchObject({ 'content-type': 'application/json', 'user-agent': 'quicksilver' });
  });

  it('should hold no header of the backend but the content type', async () => {
    const { chat } = await serviceWith((response) =>
      answerJson(response, ANSWER, {
        server: 'nginx',
        'set-cookie': 'a=b',
        'x-internal-host': 'gpu-7',
        via: '1.1 gpu',
      }),
    );
    const names = [...(await chat()).headers.keys()].filter((name) => !name.startsWith('x-quicksilver-'));
    for (const name of ['server', 'set-cookie', 'x-internal-host', 'via']) expect(names).not.toContain(name);
    expect(names).toContain('content-type');
    expect(names).toContain('x-request-id');
  });

  it('should be refused before it is sent when it is larger than the bound', async () => {
    const { chat, server } = await serviceWith((response) => answerJson(response), { max_request_bytes: 100 });
    expect(await errorOf(await chat({ filler: 'é'.repeat(60) }))).toMatchObject({ status: 413 });
    expect(server.received).toEqual([]);
  });

  it('should be as large as the backend takes, beyond what the local model reads', async () => {
    const { chat } = await serviceWith((response) => answerJson(response), { max_request_bytes: 600_000 });
    expect((await chat({ filler: 'a'.repeat(500_000) })).status).toBe(200);
    expect(await errorOf(await chat({ filler: 'a'.repeat(700_000) }))).toMatchObject({ status: 413 });
  });
});

describe('retries', () => {
  it.each([429, 500, 502, 503, 504])('should be made after %i', async (status) => {
    const { chat, server } = await serviceWith((response, n) =>
      n < 3 ? refuse(response, status) : answerJson(response),
    );
    const response = await chat();
    expect(response.status).toBe(200);
    expect(attemptsOf(response)).toBe('3');
    expect(new Set(server.received.map(({ body }) => body)).size).toBe(1);
  });

  it('should be made after a reset, before the headers and in the middle of a body', async () => {
    const { chat } = await serviceWith((response, n) => {
      if (n === 1) return void response.destroy();
      if (n > 2) return answerJson(response);
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': '100' });
      response.write('{"cho');
      setTimeout(() => response.destroy(), 5);
    });
    const response = await chat();
    expect(await response.text()).toBe(ANSWER);
    expect(attemptsOf(response)).toBe('3');
  });

  it('should end with what is configured, and say what the backend said in our own shape', async () => {
    const { chat, server } = await serviceWith((response) => refuse(response, 500), {
      retries: 5,
      breaker_failures: 99,
    });
    const response = await chat();
    expect(attemptsOf(response)).toBe('6');
    expect(await errorOf(response)).toEqual({
      status: 502,
      type: 'server_error',
      param: null,
      code: 'backend_error',
      message: "The backend 'big' failed with status 500.",
    });
    expect(server.received).toHaveLength(6);
  });

  it.each([400, 404, 409, 422])(
    'should not be made after %i, which the client gets with its reason',
    async (status) => {
      const { chat, server } = await serviceWith((response) => refuse(response, status));
      expect(await errorOf(await chat())).toMatchObject({
        status,
        type: 'invalid_request_error',
        message: `said ${status}`,
      });
      expect(server.received).toHaveLength(1);
    },
  );

  it.each([401, 402, 403])('should not be made after %i, and nothing said of our key', async (status) => {
    const { chat, server } = await serviceWith((response) => refuse(response, status));
    const error = await errorOf(await chat());
    expect(error).toMatchObject({ status: 502, code: 'backend_refused_key' });
    expect(error.message).not.toContain(`said ${status}`);
    expect(server.received).toHaveLength(1);
  });

  it('should log the fault of the key or the connection, and nothing that may quote a prompt', async () => {
    const { chat } = await serviceWith(
      (response, n) => (n < 3 ? refuse(response, [401, 400][n - 1]!) : void response.destroy()),
      { retries: 0 },
    );
    for (const _ of [1, 2, 3]) await chat();
    const lines = vi.mocked(console.warn).mock.calls.map(([line]) => JSON.parse(line) as { message: string });
    expect(lines.map(({ message }) => message)).toEqual([
      'big: answered 401: said 401',
      'big: answered 400',
      expect.stringMatching(/^big: the connection failed: ./),
    ]);
  });

  it('should keep our key out of a reason that names it', async () => {
    const { chat } = await serviceWith((response) => {
      response.writeHead(400, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ detail: `the key ${KEY} has no such model` }));
    });
    expect((await errorOf(await chat())).message).toBe('the key *** has no such model');
  });

  it.each([
    [
      400,
      { error: { message: 'm', type: 'invalid_request_error', param: 'messages', code: 'context_length_exceeded' } },
      { message: 'm', type: 'invalid_request_error', param: 'messages', code: 'context_length_exceeded' },
    ],
    [
      422,
      { detail: [{ loc: ['body', 'messages'], msg: 'Field required', input: 'x'.repeat(20_000) }] },
      { message: 'messages: Field required', param: 'messages', code: 'backend_refused_request' },
    ],
    [400, 'no such thing', { message: 'no such thing' }],
    [400, { padding: 'x'.repeat(60_000), error: { message: 'short' } }, { message: 'short' }],
    [400, { error: { message: 'short', input: 'x'.repeat(200_000) } }, { message: 'short' }],
    [400, { error: { message: 'x'.repeat(20_000) } }, { message: `${'x'.repeat(1000)}…` }],
    [
      429,
      { error: { message: 'of org-1', type: 'tokens', code: 'rate_limit_exceeded' } },
      { message: "The backend 'big' takes no more requests now.", type: 'tokens', code: 'rate_limit_exceeded' },
    ],
  ])('should leave %i its code, param, type and reason', async (status, body, expected) => {
    const { chat } = await serviceWith(
      (response) => {
        const isText = typeof body === 'string';
        response.writeHead(status, { 'content-type': isText ? 'text/plain' : 'application/json' });
        response.end(isText ? body : JSON.stringify(body));
      },
      { retries: 0 },
    );
    expect(await errorOf(await chat())).toMatchObject({ status, ...expected });
  });

  it('should not be made for a spent quota, whose reason is logged', async () => {
    const error = { message: 'see your plan', type: 'insufficient_quota', param: null, code: 'insufficient_quota' };
    const { chat, server } = await serviceWith((response) => {
      response.writeHead(429, { 'content-type': 'application/json' }).end(JSON.stringify({ error }));
    });
    const response = await chat();
    expect(response.headers.get('x-should-retry')).toBe('false');
    const told = await errorOf(response);
    expect(told).toMatchObject({ status: 429, type: 'insufficient_quota', code: 'insufficient_quota' });
    expect(told.message).not.toContain('plan');
    expect(vi.mocked(console.warn).mock.calls.join()).toContain('big: answered 429: see your plan');
    expect(server.received).toHaveLength(1);
  });

  it('should be made as the backend advises, and clients advised not to multiply them', async () => {
    const { chat, server } = await serviceWith((response, n) =>
      refuse(response, n === 1 ? 409 : 500, { 'x-should-retry': n === 1 ? 'true' : 'false' }),
    );
    expect(attemptsOf(await chat())).toBe('2');
    const again = await serviceWith((response) => refuse(response, 500));
    expect((await again.chat()).headers.get('x-should-retry')).toBe('false');
    expect([server.received.length, again.server.received.length]).toEqual([2, 3]);
    const once = await serviceWith((response) => refuse(response, 500), { retries: 0 });
    expect((await once.chat()).headers.has('x-should-retry')).toBe(false);
  });

  it('should wait as long as retry-after-ms says in a storm of 429', async () => {
    const times: number[] = [];
    const { chat } = await serviceWith((response, n) => {
      times.push(performance.now());
      if (n < 3) refuse(response, 429, { 'retry-after-ms': '120', 'retry-after': '60' });
      else answerJson(response);
    });
    expect((await chat()).status).toBe(200);
    // Timers may fire a millisecond early.
    for (const i of [1, 2]) expect(times[i]! - times[i - 1]!).toBeGreaterThanOrEqual(118);
  });

  it('should not wait beyond the deadline, but send the client the wait', async () => {
    const { chat, server } = await serviceWith((response) => refuse(response, 429, { 'retry-after': '30' }));
    const response = await chat();
    expect(response.headers.get('retry-after')).toBe('30');
    expect(await errorOf(response)).toMatchObject({
      status: 429,
      type: 'rate_limit_error',
      code: 'rate_limit_exceeded',
    });
    expect(server.received).toHaveLength(1);
  });

  it('should end a wait when the client leaves', async () => {
    const client = new AbortController();
    // A longer wait would outlast the test.
    const { chat, server } = await serviceWith(
      (response) => {
        refuse(response, 503, { 'retry-after-ms': '200000' });
        setTimeout(() => client.abort(), 20);
      },
      { first_byte_timeout_ms: 300_000, idle_timeout_ms: 300_000, total_timeout_ms: 300_000 },
    );
    await chat({}, { signal: client.signal });
    expect(server.received).toHaveLength(1);
  });
});

describe('timeouts', () => {
  it('should end a request whose headers do not come, without asking again', async () => {
    const { chat, server } = await serviceWith(stallForever, { first_byte_timeout_ms: 500 });
    expect(await errorOf(await chat())).toMatchObject({ status: 504, code: 'backend_timeout' });
    expect(server.received).toHaveLength(1);
    await server.received[0]?.closed;
  });

  it('should end an answer that drips for longer than the total', async () => {
    const { chat, server } = await serviceWith(
      (response) => {
        response.writeHead(200, { 'content-type': 'application/json' });
        const drip = setInterval(() => response.write(' '), 5);
        response.on('close', () => clearInterval(drip));
      },
      { total_timeout_ms: 80 },
    );
    expect(await errorOf(await chat())).toMatchObject({ status: 504, code: 'backend_timeout' });
    await server.received[0]?.closed;
  });

  it('should say that nothing listens', async () => {
    const server = await open(stallForever);
    await server.close();
    const app = appWith({ gone: quick(server.url, { models: ['large'] }) });
    const response = await post(app, CHAT, { model: 'large' });
    expect(attemptsOf(response)).toBe('3');
    expect(await errorOf(response)).toMatchObject({ status: 502, code: 'backend_unreachable' });
  });

  it('should let the backend know when the client leaves', async () => {
    const client = new AbortController();
    const { chat, server } = await serviceWith(() => {
      setTimeout(() => client.abort(), 10);
    }, PATIENT);
    await chat({}, { signal: client.signal });
    await server.received[0]?.closed;
    expect(server.received).toHaveLength(1);
  });
});

describe('the fall-back chain', () => {
  const models = ['small-1'];

  it('should be asked in turn, each backend for a model of its own', async () => {
    const dead = await open((response) => void response.destroy());
    const alive = await open((response) => answerJson(response));
    const { app, server } = await serviceWith((response) => refuse(response, 500));
    const withFallback = appWith({
      big: quick(server.url, { models: ['large'], retries: 1, fallback: ['dead', 'alive'] }),
      dead: quick(dead.url, { retries: 0 }),
      alive: quick(alive.url, { models }),
    });
    expect((await post(app, CHAT, { model: 'large' })).status).toBe(502);
    const response = await post(withFallback, CHAT, { model: 'large', messages: [] });
    expect(await response.text()).toBe(ANSWER);
    expect(response.headers.get('x-quicksilver-backend')).toBe('alive');
    expect(response.headers.get('x-quicksilver-route')).toBe('model; fallback-from=big');
    expect(attemptsOf(response)).toBe('4');
    expect(JSON.parse(alive.received[0]!.body)).toEqual({ model: 'small-1', messages: [] });
  });

  it('should not be asked for a request that is at fault', async () => {
    const second = await open((response) => answerJson(response));
    const { server } = await serviceWith((response) => refuse(response, 400));
    const app = appWith({
      big: quick(server.url, { models: ['large'], fallback: ['second'] }),
      second: quick(second.url, { models }),
    });
    expect((await post(app, CHAT, { model: 'large' })).status).toBe(400);
    expect(second.received).toEqual([]);
  });

  it('should give the failure of the first backend when all fail', async () => {
    const second = await open((response) => refuse(response, 500));
    const { server } = await serviceWith((response) => refuse(response, 429));
    const app = appWith({
      big: quick(server.url, { models: ['large'], retries: 0, fallback: ['second'] }),
      second: quick(second.url, { models, retries: 0 }),
    });
    const response = await post(app, CHAT, { model: 'large' });
    expect(response.headers.get('x-quicksilver-backend')).toBe('big');
    expect(attemptsOf(response)).toBe('2');
    expect(response.status).toBe(429);
  });
});

describe('a backend that asks for more than a moment', () => {
  /** A first backend that says no with these headers, and a fallback that answers. */
  async function withFallback(status: number, headers: Record<string, string>, settings: object = {}) {
    const second = await open((response) => answerJson(response));
    const first = await open((response, n) => (n === 1 ? refuse(response, status, headers) : answerJson(response)));
    const app = appWith({
      big: quick(first.url, { models: ['large'], fallback: ['second'], ...settings }),
      second: quick(second.url, { models: ['other'] }),
    });
    return { first, second, ask: () => post(app, CHAT, { model: 'large' }) };
  }

  it.each([
    [429, { 'retry-after': '40' }],
    [429, { 'retry-after-ms': '12000' }],
    [503, { 'retry-after': new Date(Date.now() + 3_600_000).toUTCString() }],
  ])('should be left alone from %i with %j on, and the next one asked at once', async (status, headers) => {
    const { first, second, ask } = await withFallback(status, headers, PATIENT);
    const backends = [];
    for (let i = 0; i < 3; i++) backends.push((await ask()).headers.get('x-quicksilver-backend'));
    expect(backends).toEqual(['second', 'second', 'second']);
    expect([first.received.length, second.received.length]).toEqual([1, 3]);
  });

  it('should be asked again when its time has come', async () => {
    const { first, ask } = await withFallback(429, { 'retry-after-ms': '1200' });
    expect((await ask()).headers.get('x-quicksilver-backend')).toBe('second');
    await new Promise((resolve) => setTimeout(resolve, 1_300));
    expect((await ask()).headers.get('x-quicksilver-backend')).toBe('big');
    expect(first.received).toHaveLength(2);
  });

  it('should not be waited for without a next one: the client gets the wait', async () => {
    const { chat, server } = await serviceWith((response) => refuse(response, 503, { 'retry-after': '20' }), PATIENT);
    const responses = [await chat(), await chat()];
    expect(responses.map(attemptsOf)).toEqual(['1', '0']);
    for (const response of responses) {
      expect(Number(response.headers.get('retry-after'))).toBeGreaterThan(10);
      expect(response.headers.has('x-should-retry')).toBe(false);
      expect(await errorOf(response)).toMatchObject({ status: 503, code: 'backend_unavailable' });
    }
    expect(server.received).toHaveLength(1);
  });

  it('should be asked on after a refusal that is the fault of the request', async () => {
    const { first, ask } = await withFallback(400, { 'retry-after': '40' });
    expect((await ask()).status).toBe(400);
    expect((await ask()).status).toBe(200);
    expect(first.received).toHaveLength(2);
  });
});

describe('the circuit', () => {
  it('should open after failures in a row, then let one probe through and close when it succeeds', async () => {
    let isWell = false;
    const { chat, server } = await serviceWith(
      (response) => (isWell ? answerJson(response) : void response.destroy()),
      { retries: 0, breaker_failures: 2, breaker_open_ms: 1000 },
    );
    for (const _ of [1, 2]) expect((await chat()).status).toBe(502);
    const refused = await chat();
    expect(refused.headers.get('retry-after')).toBe('1');
    expect(attemptsOf(refused)).toBe('0');
    expect(await errorOf(refused)).toMatchObject({ status: 503, code: 'backend_unavailable' });
    expect(server.received).toHaveLength(2);

    await new Promise((resolve) => setTimeout(resolve, 1100));
    expect((await chat()).status).toBe(502);
    expect((await chat()).status).toBe(503);
    expect(server.received).toHaveLength(3);

    isWell = true;
    await new Promise((resolve) => setTimeout(resolve, 1100));
    for (const _ of [1, 2]) expect((await chat()).status).toBe(200);
  });

  it('should stay as it is when the client of a probe leaves', async () => {
    const client = new AbortController();
    const { chat, server } = await serviceWith(
      (response, n) => {
        if (n === 1) response.destroy();
        else if (n === 2) client.abort();
        else setTimeout(() => answerJson(response), 50);
      },
      { ...PATIENT, retries: 0, breaker_failures: 1, breaker_open_ms: 1000 },
    );
    await chat();
    await new Promise((resolve) => setTimeout(resolve, 1100));
    await chat({}, { signal: client.signal });
    const statuses = (await Promise.all([chat(), chat()])).map(({ status }) => status);
    expect(statuses.sort()).toEqual([200, 503]);
    expect(server.received).toHaveLength(3);
  });

  it('should stay closed through refusals of requests', async () => {
    const { chat, server } = await serviceWith((response) => refuse(response, 400), { breaker_failures: 1 });
    for (const _ of [1, 2, 3]) expect((await chat()).status).toBe(400);
    expect(server.received).toHaveLength(3);
  });
});
