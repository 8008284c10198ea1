/** Whole answers of a backend that take longer than their head waits. */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { createApp } from '../../src/app.ts';
import { readBackends } from '../../src/backend/config.ts';
import { gatewayOf } from '../../src/backend/gateway.ts';
import type { LogLine } from '../../src/middleware/observe.ts';
import { post } from '../support/requests.ts';
import { catalogOf, helloScript, scriptedEngine } from '../support/scripted-engine.ts';
import { ANSWER, answerJson, type Behaviour, refuse, stallForever } from './server.ts';
import { CHAT, open, quick, tidyUp } from './support.ts';

tidyUp();

/** Longer than the service waits before it sends the head of a whole answer. */
const LATE_MS = 6_500;

async function setUp(behave: Behaviour) {
  const server = await open(behave);
  const backends = readBackends(JSON.stringify({ big: quick(server.url, { default: true, retries: 0 }) }), {
    BACKEND_KEY: 'k',
  });
  const lines: LogLine[] = [];
  const log = (line: LogLine) => lines.push(line);
  const app = createApp(catalogOf(scriptedEngine(helloScript)), gatewayOf(backends), { log });
  return { server, lines, chat: () => post(app, CHAT, { model: 'large', messages: [] }) };
}

describe('a whole answer that takes long', () => {
  it('should be that of the backend, after blanks', async () => {
    const { chat, lines } = await setUp(async (response) => {
      await sleep(LATE_MS);
      answerJson(response);
    });
    const response = await chat();
    expect([response.status, response.headers.get('content-type')]).toEqual([200, 'application/json']);
    expect(response.headers.get('x-quicksilver-route')).toBe('default; pending');
    const text = await response.text();
    expect(text).toMatch(/^ {2,}\{/);
    expect(text.trimStart()).toBe(ANSWER);
    await expect.poll(() => lines).toMatchObject([{ status: 200, level: 'info', backend: 'big' }]);
  });

  it.each<[string, Behaviour]>([
    ['a status', (response) => refuse(response, 500)],
    ['an error with status 200', (response) => answerJson(response, '{"error":{"message":"m","code":500}}')],
    ['a broken connection', (response) => void response.destroy()],
  ])('should not pass for one when it ends in %s', async (_, fail) => {
    const { chat, lines } = await setUp(async (response, n, request) => {
      await sleep(LATE_MS);
      await fail(response, n, request);
    });
    const response = await chat();
    await expect(response.text()).rejects.toThrow();
    await expect
      .poll(() => lines)
      .toMatchObject([{ status: 200, level: 'error', backend: 'big', end: 'broken', error: expect.any(String) }]);
  });

  it('should be left to nobody once its reader has gone', async () => {
    const { chat, server, lines } = await setUp(stallForever);
    const response = await chat();
    await response.body!.cancel();
    await server.received[0]!.closed;
    await expect.poll(() => lines).toMatchObject([{ end: 'cancelled' }]);
  });
});
