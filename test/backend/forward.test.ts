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

  it('should tell the operator what was wrong with the key or the connection, and nothing that may quote a prompt', async () => {
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

  it('should not wait beyond the deadline, but tell the client how long', async () => {
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
    // A wait that goes on would outlast the test.
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

  it('should say that nobody listens', async () => {
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
      { ...PATIENT, retries: 0, breaker_failures: 1, breaker_open_ms: 60 },
    );
    await chat();
    await new Promise((resolve) => setTimeout(resolve, 70));
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
