/** Requests of editors that a backend answers: a newer one that continues them lets the backend go. */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { createApp } from '../../../src/app.ts';
import { readBackends } from '../../../src/backend/config.ts';
import { gatewayOf } from '../../../src/backend/gateway.ts';
import type { LogLine } from '../../../src/middleware/observe.ts';
import { type Behaviour, stallForever, writeEvents } from '../../backend/server.ts';
import { open, quick, tidyUp } from '../../backend/support.ts';
import { eventsOf, post } from '../../support/requests.ts';
import { catalogOf, helloScript, scriptedEngine, usage } from '../../support/scripted-engine.ts';

tidyUp();

/** A busy machine may take its time. */
const PATIENT = { timeout: 30_000 };

const PREFIX = 'function total(numbers) {\n  return num';
const body = (typed: string, more: object = {}) => ({
  model: 'large',
  prompt: PREFIX + typed,
  suffix: '\n}\n',
  editor: true,
  ...more,
});

const error = { error: { code: 'replaced' } };

async function setUp(behave: Behaviour) {
  const server = await open(behave);
  const settings = { default: true, models: ['large'], retries: 0 };
  const backends = readBackends(JSON.stringify({ big: quick(server.url, settings) }), { BACKEND_KEY: 'k' });
  const lines: LogLine[] = [];
  const unsure = {
    ...helloScript,
    completion: { ...helloScript.completion, confidence: -2, usage: { ...usage, truncatedTokens: 0 } },
  };
  const app = createApp(catalogOf(scriptedEngine(unsure)), gatewayOf(backends), { log: (line) => lines.push(line) });
  const received = (count: number) => expect.poll(() => server.received.length, PATIENT).toBe(count);
  return { app, server, lines, received };
}

describe.each(['/v1/completions', '/v1/fim/completions'])(
  'a request of %s at a backend whose client types on',
  (path) => {
    it.each(['large', 'auto'])('should be refused, and the backend of %s let go', async (model) => {
      const { app, server, lines, received } = await setUp(stallForever);
      const older = post(app, path, body('', { model }));
      await received(1);
      void post(app, path, body('b', { model })).catch(() => {});
      const response = await older;
      expect([response.status, await response.json()]).toMatchObject([499, error]);
      await server.received[0]!.closed;
      expect(lines).toMatchObject([{ status: 499, level: 'info', error: 'replaced' }]);
    });

    it('should end with the error where its stream has begun', async () => {
      const chunk = 'data: {"choices":[{"index":0,"text":"bers","finish_reason":null}]}\n\n';
      const { app, server, lines, received } = await setUp((response) => writeEvents(response, [chunk]));
      const older = await post(app, path, body('', { stream: true }));
      await received(1);
      void post(app, path, body('b', { stream: true })).catch(() => {});
      expect((await eventsOf(older)).at(-1)).toMatchObject(error);
      await server.received[0]!.closed;
      await expect.poll(() => lines, PATIENT).toMatchObject([{ status: 200, level: 'info', error: 'replaced' }]);
    });

    it.each(['stream', 'whole'] as const)(
      'should end with the error behind the early head of a %s answer',
      async (kind) => {
        const { app, server, lines } = await setUp(stallForever);
        // Resolves with its head, which the service sends after seconds.
        const late = await post(app, path, body('', { stream: kind === 'stream' }));
        expect(late.status).toBe(200);
        void post(app, path, body('b', { stream: kind === 'stream' })).catch(() => {});
        if (kind === 'stream') {
          const events = (await late.text()).split('\n\n').filter((event) => event.startsWith('data: '));
          expect(JSON.parse(events.at(-1)!.slice('data: '.length))).toMatchObject(error);
        } else expect(JSON.parse(await late.text())).toMatchObject(error);
        await server.received[0]!.closed;
        await expect.poll(() => lines, PATIENT).toMatchObject([{ status: 200, level: 'info', error: 'replaced' }]);
      },
    );
  },
);

describe('other requests at a backend', () => {
  it('should not be replaced: a chat, and a text that no editor shows', async () => {
    const { app, server, received } = await setUp(stallForever);
    const chat = (content: string) => ({ model: 'large', messages: [{ role: 'user', content }] });
    const requests = [
      ['/v1/chat/completions', chat(PREFIX)],
      ['/v1/chat/completions', chat(`${PREFIX}b`)],
      ['/v1/completions', body('', { editor: false })],
      ['/v1/completions', body('b', { editor: false })],
    ] as const;
    const ended: string[] = [];
    for (const [at, [path, sent]] of requests.entries()) {
      void post(app, path, sent).then(() => ended.push(path));
      await received(at + 1);
    }
    await sleep(100);
    expect(ended).toEqual([]);
    expect(server.received).toHaveLength(4);
  });
});
