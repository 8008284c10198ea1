import { Hono } from 'hono';
import { describe, expect, it } from 'vitest';
import { EngineBusy } from '../../src/engine/errors.ts';
import { ServiceMetrics } from '../../src/metrics/service-metrics.ts';
import { type LogLine, observe } from '../../src/middleware/observe.ts';
import { post } from '../support/requests.ts';
import { helloScript, usage } from '../support/scripted-engine.ts';
import { keysOf, PROMPT, serviceWith } from './support.ts';

const timed = {
  ...helloScript,
  completion: { ...helloScript.completion, usage: { ...usage, cpuMs: 8, prefillMs: 3, queueMs: 1.25 } },
};

async function metricsOf(app: ReturnType<typeof serviceWith>['app'], headers = {}): Promise<string[]> {
  const response = await app.request('/metrics', { headers });
  expect(response.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
  return (await response.text()).split('\n');
}

describe('the log', () => {
  it('should have one line for each request, with its key, its cost and its duration', async () => {
    const { texts, keys } = await keysOf('laptop');
    const { complete, lines } = serviceWith({ keys }, timed);
    await complete({ n: 2 }, { 'x-api-key': texts[0]!, 'x-request-id': 'mine-1' });
    expect(lines).toEqual([
      {
        time: expect.stringMatching(/^\d{4}-.*Z$/),
        level: 'info',
        id: 'mine-1',
        method: 'POST',
        route: '/v1/completions',
        model: 'nano',
        status: 200,
        ms: expect.any(Number),
        key: 'laptop',
        prompt_tokens: 10,
        cached_tokens: 6,
        completion_tokens: 8,
        steps: 4,
        slot_evaluations: 128,
        queue_ms: 3,
      },
    ]);
  });

  it('should never hold a key, the text of a prompt, or that of an answer', async () => {
    const { texts, keys } = await keysOf('laptop');
    const { app, complete, lines } = serviceWith({ keys });
    await complete({}, { authorization: `Bearer ${texts[0]}` });
    await (await complete({ stream: true }, { 'x-api-key': texts[0]! })).text();
    await complete({ max_tokens: PROMPT }, { 'x-api-key': texts[0]! });
    await complete({}, { 'x-api-key': `${texts[0]}wrong`, 'x-request-id': `${PROMPT} ${texts[0]}` });
    await app.request(`/v1/${texts[0]}?key=${texts[0]}&q=${encodeURIComponent(PROMPT)}`);
    await app.request(`/v1/models/${texts[0]}`, { headers: { 'x-api-key': texts[0]! } });
    expect(lines.map(({ status }) => status)).toEqual([200, 200, 400, 401, 401, 404]);
    const log = JSON.stringify(lines);
    for (const secret of [texts[0]!, PROMPT, 'nobody', 'hello', Buffer.from(keys[0]!.hash).toString('hex')]) {
      expect(log).not.toContain(secret);
    }
  });

  it('should name the error of a refusal', async () => {
    const { app, complete, lines } = serviceWith(
      {},
      {
        ...helloScript,
        beforeFrame: () => {
          throw new EngineBusy(1);
        },
      },
    );
    await app.request('/nowhere');
    await complete({ model: 'other' });
    await complete();
    expect(lines.map(({ route, status, error, level }) => [route, status, error, level])).toEqual([
      ['none', 404, 'route_not_found', 'info'],
      ['/v1/completions', 404, 'model_not_found', 'info'],
      ['/v1/completions', 503, 'engine_busy', 'error'],
    ]);
  });

  it('should name the error in a dialect with an error shape of its own, and the cost of its streams', async () => {
    const { app, lines } = serviceWith({}, timed);
    await post(app, '/api/generate', { model: 'other', prompt: 'a' });
    await (await post(app, '/api/generate', { model: 'nano', prompt: 'a' })).text();
    await (await post(app, '/infill', { input_prefix: 'a', input_suffix: 'b', stream: true })).text();
    expect(lines).toMatchObject([
      { route: '/api/generate', status: 404, error: 'model_not_found' },
      { route: '/api/generate', status: 200, completion_tokens: 4 },
      { route: '/infill', status: 200, completion_tokens: 4 },
    ]);
  });

  it('should have no probes, but those that are refused', async () => {
    const { keys } = await keysOf('laptop');
    const { app, lines } = serviceWith({ keys });
    await app.request('/health');
    await app.request('/health', { method: 'HEAD' });
    await app.request('/ready');
    await app.request('/health', { method: 'DELETE' });
    await app.request('/metrics');
    await app.request('/v1/health');
    expect(lines.map(({ route, status }) => [route, status])).toEqual([
      ['none', 405],
      ['/metrics', 401],
      ['/v1/health', 401],
    ]);
  });

  it('should be an error where a stream fails after its status', async () => {
    const { complete, lines } = serviceWith(
      {},
      {
        ...helloScript,
        beforeFrame: (frame) => {
          if (frame > 0) throw new Error('broken');
        },
      },
    );
    await (await complete({ stream: true })).text();
    expect(lines).toMatchObject([{ status: 200, error: 'internal_error', level: 'error' }]);
  });

  it('should wait for the end of a stream', async () => {
    const { complete, lines } = serviceWith({}, timed);
    const response = await complete({ stream: true });
    expect(lines).toEqual([]);
    await response.text();
    expect(lines).toMatchObject([{ status: 200, completion_tokens: 4 }]);
    expect(lines[0]).not.toHaveProperty('end');
  });

  it('should say that a stream was given up by its reader', async () => {
    const { app, complete, engine, lines } = serviceWith(
      {},
      { ...helloScript, beforeFrame: (frame) => new Promise((resolve) => setTimeout(resolve, frame === 0 ? 0 : 300)) },
    );
    const reader = (await complete({ stream: true })).body!.getReader();
    await reader.read();
    await reader.cancel();
    await expect.poll(() => engine.endings, { timeout: 10_000 }).toEqual(['aborted']);
    expect(lines).toMatchObject([{ status: 200, end: 'cancelled' }]);
    const counted = await metricsOf(app);
    expect(counted).toContain('quicksilver_requests_total{route="/v1/completions",status="200"} 1');
    expect(counted).toContain('quicksilver_completions_total{model="nano",outcome="aborted"} 1');
    expect(counted).toContain('quicksilver_requests_in_flight 1');
  });

  it('should name the backend that answered', async () => {
    const lines: LogLine[] = [];
    const metrics = new ServiceMetrics();
    const app = new Hono().use(observe({ metrics, log: (line) => lines.push(line) })).get('/chat', (c) => {
      c.get('observation')!.backend = 'mercury';
      return c.text('hello');
    });
    await app.request('/chat');
    expect(lines).toMatchObject([{ backend: 'mercury' }]);
    expect(metrics.text()).toContain('quicksilver_backend_answers_total{backend="mercury",status="200"} 1');
  });
});

describe('Server-Timing', () => {
  it('should report the times of a completion', async () => {
    const { complete } = serviceWith({}, timed);
    const header = (await complete()).headers.get('server-timing');
    expect(header).toMatch(/^queue;dur=1\.3, prefill;dur=3\.0, denoise;dur=5\.0, total;dur=\d+\.\d$/);
  });

  it('should only report the total if nothing else is known', async () => {
    const { app, complete } = serviceWith();
    expect((await complete()).headers.get('server-timing')).toMatch(/^total;dur=\d+\.\d$/);
    expect((await app.request('/nowhere')).headers.get('server-timing')).toMatch(/^total;dur=\d+\.\d$/);
  });

  it('should not be on a stream, whose headers come before its work', async () => {
    const { complete } = serviceWith({}, timed);
    expect((await complete({ stream: true })).headers.has('server-timing')).toBe(false);
  });

  it('should be on an answer whose headers cannot be changed', async () => {
    const app = new Hono()
      .use(observe({ metrics: new ServiceMetrics() }))
      .get('/', () => fetch('data:application/json,{}'));
    expect((await app.request('/')).headers.get('server-timing')).toMatch(/^total/);
  });
});

describe('/metrics', () => {
  it('should count answers, errors, tokens and steps', async () => {
    const { app, complete } = serviceWith({}, timed);
    await complete();
    await (await complete({ stream: true })).text();
    await complete({ model: 'other' });
    await app.request('/v1/invented-by-a-client');
    expect(await metricsOf(app)).toEqual(
      expect.arrayContaining([
        '# TYPE quicksilver_requests_total counter',
        'quicksilver_requests_total{route="/v1/completions",status="200"} 2',
        'quicksilver_requests_total{route="none",status="404"} 1',
        'quicksilver_errors_total{route="/v1/completions",status="404",code="model_not_found"} 1',
        'quicksilver_request_duration_seconds_count{route="/v1/completions"} 3',
        'quicksilver_request_duration_seconds_bucket{route="/v1/completions",le="+Inf"} 3',
        'quicksilver_completions_total{model="nano",outcome="stop"} 2',
        'quicksilver_prompt_tokens_total{model="nano"} 10',
        'quicksilver_cached_tokens_total{model="nano"} 6',
        'quicksilver_completion_tokens_total{model="nano"} 8',
        'quicksilver_slot_evaluations_total{model="nano"} 128',
        'quicksilver_completion_steps_bucket{model="nano",le="1"} 0',
        'quicksilver_completion_steps_bucket{model="nano",le="2"} 2',
        'quicksilver_queue_seconds_count{model="nano"} 2',
        'quicksilver_requests_in_flight 1',
      ]),
    );
  });

  it('should distinguish failed completions from those that the time limit ended', async () => {
    const { app, complete } = serviceWith(
      { timeLimitMs: 1000 },
      {
        ...timed,
        beforeFrame: (_, signal) => {
          if (attempt++ === 0) throw new EngineBusy(1);
          return new Promise((resolve) => signal.addEventListener('abort', () => resolve()));
        },
      },
    );
    let attempt = 0;
    await complete();
    // The head has been sent by then: the answer breaks off.
    await expect((await complete()).text()).rejects.toThrow();
    const counted = await metricsOf(app);
    expect(counted).toContain('quicksilver_completions_total{model="nano",outcome="failed"} 1');
    expect(counted).toContain('quicksilver_completions_total{model="nano",outcome="aborted"} 1');
  });

  it('should count for each key', async () => {
    const { texts, keys } = await keysOf('laptop', 'office');
    const { app, complete } = serviceWith({ keys }, timed);
    await complete({}, { 'x-api-key': texts[0]! });
    await complete({ model: 'other' }, { 'x-api-key': texts[1]! });
    await complete();
    const counted = await metricsOf(app, { 'x-api-key': texts[1] });
    expect(counted.filter((line) => line.startsWith('quicksilver_key_'))).toEqual([
      'quicksilver_key_requests_total{key="laptop",status="200"} 1',
      'quicksilver_key_requests_total{key="office",status="404"} 1',
      'quicksilver_key_prompt_tokens_total{key="laptop"} 5',
      'quicksilver_key_completion_tokens_total{key="laptop"} 4',
    ]);
    expect(counted).toContainEqual(expect.stringMatching(/^quicksilver_model_info\{model="nano",/));
  });

  it('should show the length of the line', async () => {
    const { app, complete, engine } = serviceWith();
    await complete();
    expect(await metricsOf(app)).toContain('quicksilver_queue_length{model="nano"} 0');
    Object.assign(engine, { waiting: 3 });
    await complete();
    expect(await metricsOf(app)).toContain('quicksilver_queue_length{model="nano"} 3');
  });

  it('should ask for a key where there are keys', async () => {
    const { texts, keys } = await keysOf('laptop');
    const { app } = serviceWith({ keys });
    expect((await app.request('/metrics')).status).toBe(401);
    expect(await metricsOf(app, { 'x-api-key': texts[0] })).toContain(
      'quicksilver_errors_total{route="/metrics",status="401",code="missing_api_key"} 1',
    );
  });
});
