import { describe, expect, it } from 'vitest';
import { createApp } from '../../src/app.ts';
import { ModelCatalog } from '../../src/engine/catalog.ts';
import { errorOf, eventsOf, post } from '../support/requests.ts';
import { helloScript, type Script } from '../support/scripted-engine.ts';
import { serviceWith } from './support.ts';

const timeLimitMs = 20;

/** Waits in its second frame until it is aborted. */
const stuck: Script = {
  ...helloScript,
  beforeFrame: (frame, signal) =>
    frame === 0 ? undefined : new Promise((resolve) => signal.addEventListener('abort', () => resolve())),
};

const timedOut = { type: 'server_error', code: 'time_limit_exceeded', param: null };

describe('the time limit', () => {
  it('should answer 504 and stop the engine', async () => {
    const { complete, engine } = serviceWith({ timeLimitMs }, stuck);
    expect(await errorOf(await complete())).toMatchObject({ status: 504, ...timedOut });
    await expect.poll(() => engine.endings).toEqual(['aborted']);
  });

  it('should end a stream with the error as its last event', async () => {
    const { complete, engine, lines } = serviceWith({ timeLimitMs }, stuck);
    const response = await complete({ stream: true });
    expect(response.status).toBe(200);
    const events = await eventsOf<{ error?: object }>(response);
    expect(events).toHaveLength(2);
    expect(events.at(-1)).toEqual({ error: { message: expect.stringContaining('20 ms'), ...timedOut } });
    expect(engine.endings).toEqual(['aborted']);
    expect(lines).toMatchObject([{ status: 200, error: 'time_limit_exceeded' }]);
  });

  it('should not wait for a body that never ends', async () => {
    const { app } = serviceWith({ timeLimitMs });
    const body = new ReadableStream({ start: (controller) => controller.enqueue(new TextEncoder().encode('{"mod')) });
    const init = { method: 'POST', body, duplex: 'half', headers: { 'content-type': 'application/json' } };
    expect(await errorOf(await app.request('/v1/completions', init))).toMatchObject({ status: 504, ...timedOut });
  });

  it('should not wait for a model that never loads', async () => {
    const never = () => new Promise<never>(() => {});
    const model = { id: 'nano', status: { state: 'loading' as const }, info: never, engine: never };
    const app = createApp(new ModelCatalog([model]), undefined, { timeLimitMs });
    const response = await post(app, '/v1/completions', { model: 'nano', prompt: 'a' });
    expect(await errorOf(response)).toMatchObject({ status: 504, ...timedOut });
  });

  it('should not touch a stream that ends in time', async () => {
    const { complete } = serviceWith({ timeLimitMs: 10_000 });
    expect((await eventsOf(await complete({ stream: true }))).at(-1)).toBe('[DONE]');
  });
});
