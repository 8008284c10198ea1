/** Whole answers that take their time: what the client reads, and what it costs when the client has gone. */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { createApp } from '../../../src/app.ts';
import { EngineBusy } from '../../../src/engine/errors.ts';
import type { LogLine } from '../../../src/middleware/observe.ts';
import { errorOf, post } from '../../support/requests.ts';
import { catalogOf, helloScript, type Script, scriptedEngine } from '../../support/scripted-engine.ts';

const STEPS = 40;

/** Longer than an answer may take that has its length in its head. */
const LATE_MS = 300;

const frames = Array(STEPS).fill(helloScript.frames[0]);

/** Steps, of which the one of that number takes its time. */
const slowAt = (slow: number, then: () => void = () => {}): Script => ({
  ...helloScript,
  frames,
  beforeFrame: async (frame) => {
    await sleep(frame === slow ? LATE_MS : 0);
    if (frame === slow) then();
  },
});

const BODIES = [
  ['/v1/completions', { prompt: 'a', n: 2 }],
  ['/v1/completions', { prompt: 'a', editor: true }],
  ['/v1/completions', { segments: { prefix: 'a' } }],
  ['/v1/fim/completions', { prompt: 'a', suffix: 'b' }],
  ['/infill', { input_prefix: 'a', n_cmpl: 2 }],
  ['/completion', { prompt: 'a' }],
  ['/api/generate', { model: 'nano', prompt: 'a', stream: false }],
] as const;

function setUp(script: Script, options: { timeLimitMs?: number } = {}) {
  const engine = scriptedEngine(script);
  const lines: LogLine[] = [];
  const app = createApp(catalogOf(engine), undefined, { ...options, log: (line) => lines.push(line) });
  return { app, engine, lines };
}

describe.each(BODIES)('a whole answer of %s to %j', (path, body) => {
  it('should be JSON behind blanks when it takes its time', async () => {
    const { app, lines } = setUp(slowAt(3));
    const response = await post(app, path, body);
    expect([response.status, response.headers.get('content-type')]).toEqual([200, 'application/json']);
    expect(lines).toEqual([]);
    const text = await response.text();
    expect(text).toMatch(/^ {2,}[[{]/);
    const { app: soon } = setUp(helloScript);
    const shape = (json: object) => Object.keys(json);
    expect(shape(JSON.parse(text))).toEqual(shape(await (await post(soon, path, body)).json()));
    await expect
      .poll(() => lines)
      .toMatchObject([{ status: 200, level: 'info', completion_tokens: expect.any(Number) }]);
    expect(lines[0]).not.toHaveProperty('end');
  });

  it('should be JSON alone when it is there soon', async () => {
    const { app } = setUp(helloScript);
    const response = await post(app, path, body);
    expect(await response.text()).toMatch(/^[[{]/);
    expect(response.headers.get('server-timing')).toMatch(/^total;dur=/);
  });

  it('should have a status of its own when the engine refuses it', async () => {
    const { app } = setUp({
      ...helloScript,
      beforeFrame: () => {
        throw new EngineBusy(9);
      },
    });
    expect((await post(app, path, body)).status).toBe(503);
  });

  it('should notice that its reader has gone while it waits for its first step', async () => {
    const aborted = (_: number, signal: AbortSignal) =>
      new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
    const { app, engine } = setUp({ ...helloScript, beforeFrame: aborted });
    const response = await post(app, path, body);
    const reader = response.body!.getReader();
    for (let blanks = 0; blanks < 3; blanks++) {
      expect(new TextDecoder().decode((await reader.read()).value)).toMatch(/^ +$/);
    }
    await reader.cancel();
    await expect.poll(() => engine.endings).toEqual(['aborted']);
  });

  it('should be computed no further once its reader has gone', async () => {
    const { app, engine, lines } = setUp(slowAt(3));
    let steps = 0;
    const generate = engine.generate.bind(engine);
    engine.generate = async function* (request, signal) {
      const frames = generate(request, signal);
      for (let next = await frames.next(); ; next = await frames.next()) {
        if (next.done) return next.value;
        steps++;
        yield next.value;
      }
    };
    const response = await post(app, path, body);
    await response.body!.cancel();
    const atEnd = steps;
    await expect.poll(() => engine.endings).toEqual(['aborted']);
    expect(steps).toBeLessThanOrEqual(atEnd + 1);
    await expect.poll(() => lines).toMatchObject([{ end: 'cancelled' }]);
    expect(lines[0]).not.toHaveProperty('completion_tokens');
  });
});

describe('a whole answer that fails late', () => {
  const body = { prompt: 'a' };

  it('should break off, and be an error in the log', async () => {
    const fail = () => {
      throw new EngineBusy(9);
    };
    const { app, lines } = setUp(slowAt(3, fail));
    const response = await post(app, '/v1/completions', body);
    expect(response.status).toBe(200);
    await expect(response.text()).rejects.toThrow();
    await expect
      .poll(() => lines)
      .toMatchObject([{ status: 200, level: 'error', error: 'engine_busy', end: 'broken' }]);
  });

  it('should break off at the time limit, which it has until its end', async () => {
    const endless: Script = { ...helloScript, frames: Array(100_000).fill(frames[0]), beforeFrame: () => sleep(1) };
    const { app, lines, engine } = setUp(endless, { timeLimitMs: 2 * LATE_MS });
    await expect((await post(app, '/v1/completions', body)).text()).rejects.toThrow();
    await expect.poll(() => lines).toMatchObject([{ level: 'error', error: 'time_limit_exceeded', end: 'broken' }]);
    expect(engine.endings).toEqual(['aborted']);
  });

  it('should have the status of a limit that passes before its head is sent', async () => {
    const aborted = (signal: AbortSignal) =>
      new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
    const silent: Script = { ...helloScript, beforeFrame: (_, signal) => aborted(signal) };
    const { app } = setUp(silent, { timeLimitMs: 10 });
    expect(await errorOf(await post(app, '/v1/completions', body))).toMatchObject({ status: 504 });
  });

  it('should send its head at once where other requests are under way', async () => {
    const { app, engine } = setUp(slowAt(3));
    Object.defineProperty(engine, 'underWay', { value: 1 });
    const slower = setUp(slowAt(3));
    const responses = [post(slower.app, '/v1/completions', body), post(app, '/v1/completions', body)];
    const first = await Promise.race(responses.map((response, at) => response.then(() => at)));
    expect(first).toBe(1);
    for (const response of responses) expect(await (await response).json()).toHaveProperty('choices');
  });
});
