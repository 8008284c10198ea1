import { describe, expect, it } from 'vitest';
import { Drain } from '../../src/middleware/drain.ts';
import { errorOf, eventsOf } from '../support/requests.ts';
import { helloScript, type Script } from '../support/scripted-engine.ts';
import { serviceWith } from './support.ts';

/** A service that stops in its second frame until `proceed` is called. */
function haltingService() {
  const { promise, resolve: proceed } = Promise.withResolvers<void>();
  const script: Script = { ...helloScript, beforeFrame: (frame) => (frame === 0 ? undefined : promise) };
  const drain = new Drain();
  return { ...serviceWith({ drain }, script), drain, proceed };
}

describe('draining', () => {
  it('should refuse what is new in the shape of its dialect', async () => {
    const drain = new Drain();
    const { app, complete } = serviceWith({ drain });
    expect((await complete()).status).toBe(200);
    drain.start();
    const response = await complete();
    expect(response.headers.get('retry-after')).toBe('2');
    expect(await errorOf(response)).toMatchObject({ status: 503, type: 'server_error', code: 'shutting_down' });
    const ollama = await app.request('/api/generate', { method: 'POST', body: '{}' });
    expect(await ollama.json()).toEqual({ error: expect.stringContaining('shutting down') });
    expect(drain.inFlight).toBe(0);
  });

  it('should finish a stream that is under way, and know when it has', async () => {
    const { complete, drain, proceed } = haltingService();
    const response = await complete({ stream: true });
    drain.start();
    expect(drain.inFlight).toBe(1);
    proceed();
    expect((await eventsOf(response)).at(-1)).toBe('[DONE]');
    expect(drain.inFlight).toBe(0);
  });

  it('should not wait for a stream that its client has given up', async () => {
    const { complete, drain } = haltingService();
    const { body } = await complete({ stream: true });
    await body!.cancel();
    expect(drain.inFlight).toBe(0);
  });

  it('should count errors as answers', async () => {
    const { complete, drain } = haltingService();
    expect((await complete({ max_tokens: -1 })).status).toBe(400);
    expect(drain.inFlight).toBe(0);
  });

  it('should stay healthy and watched, but not ready', async () => {
    const drain = new Drain();
    const { app } = serviceWith({ drain });
    drain.start();
    const statuses = await Promise.all(
      ['/health', '/metrics', '/ready'].map(async (path) => (await app.request(`http://localhost${path}`)).status),
    );
    expect(statuses).toEqual([200, 200, 503]);
  });
});
