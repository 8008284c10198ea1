/** The whole service in front of misbehaving backends, with limits that pass in milliseconds. */
import { afterEach, beforeEach, type MockInstance, vi } from 'vitest';
import { createApp } from '../../src/app.ts';
import { readBackends } from '../../src/backend/config.ts';
import { gatewayOf } from '../../src/backend/gateway.ts';
import { post } from '../support/requests.ts';
import { catalogOf, helloScript, type Script, scriptedEngine } from '../support/scripted-engine.ts';
import { type Behaviour, type Server, serverThat } from './server.ts';

export const CHAT = '/v1/chat/completions';
export const KEY = 'sk-backend-secret';

const QUICK = {
  key: 'BACKEND_KEY',
  default: true,
  retry_delay_ms: 2,
  // A busy machine may take its time; tests of timeouts set their own.
  first_byte_timeout_ms: 30_000,
  idle_timeout_ms: 30_000,
  total_timeout_ms: 30_000,
};

/** Longer than any test: what ends then was ended by something else. */
export const PATIENT = { first_byte_timeout_ms: 60_000, idle_timeout_ms: 60_000, total_timeout_ms: 60_000 };

export interface Setup {
  app: ReturnType<typeof createApp>;
  server: Server;
  chat(fields?: object, init?: RequestInit): Promise<Response>;
}

const servers: Server[] = [];
let warnings: MockInstance;

/** Closes what tests open, and keeps the log of failed attempts out of the report. */
export function tidyUp(): void {
  beforeEach(() => {
    warnings = vi.spyOn(console, 'warn').mockImplementation(() => {});
  });
  afterEach(async () => {
    warnings.mockRestore();
    await Promise.all(servers.splice(0).map((server) => server.close()));
  });
}

export async function open(behave: Behaviour): Promise<Server> {
  const server = await serverThat(behave);
  servers.push(server);
  return server;
}

/** A service whose one backend, named `big`, behaves so. */
export async function serviceWith(
  behave: Behaviour,
  settings: object = {},
  script: Script = helloScript,
): Promise<Setup> {
  const server = await open(behave);
  const app = appWith({ big: { ...QUICK, base_url: server.url, ...settings } }, script);
  return {
    app,
    server,
    chat: (fields = {}, init = {}) =>
      post(app, CHAT, { model: 'large', messages: [{ role: 'user', content: 'hi' }], ...fields }, init),
  };
}

/** A service with the backends of a `BACKENDS` variable; `QUICK` gives what they leave out. */
export function appWith(backends: Record<string, object>, script: Script = helloScript) {
  const settings = readBackends(JSON.stringify(backends), { BACKEND_KEY: KEY });
  return createApp(catalogOf(scriptedEngine(script)), gatewayOf(settings));
}

/** Settings of a second backend. */
export function quick(base_url: string, settings: object = {}): object {
  return { ...QUICK, default: false, base_url, ...settings };
}
