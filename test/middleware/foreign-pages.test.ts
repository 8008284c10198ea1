import { describe, expect, it } from 'vitest';
import { createApp } from '../../src/app.ts';
import { gatewayOf } from '../../src/backend/gateway.ts';
import { catalogOf, scriptedEngine } from '../support/scripted-engine.ts';

const GENERATE = '/api/generate';
const body = JSON.stringify({ model: 'nano', prompt: 'a', stream: false });
const PAGE = 'https://page.example';

function setUp(origins: readonly string[] = []) {
  const engine = scriptedEngine();
  const app = createApp(catalogOf(engine), gatewayOf([]), { origins });
  const post = (headers: Record<string, string>, path = GENERATE) =>
    app.request(path, { method: 'POST', headers, body: new TextEncoder().encode(body) });
  return { engine, post };
}

const FORM = { 'content-type': 'application/x-www-form-urlencoded' };
const TEXT = { 'content-type': 'text/plain' };

describe('a body without the media type of JSON', () => {
  it.each([FORM, TEXT, {}])('should be read under /api/ from clients that are not web pages: %j', async (headers) => {
    const { post } = setUp();
    const response = await post(headers as Record<string, string>);
    expect(await response.json()).toMatchObject({ response: 'hello world!' });
  });

  it.each([
    ['a page', { ...FORM, origin: PAGE }],
    ['a page that hides its origin', { ...TEXT, origin: 'null' }],
    ['a page on another port', { ...TEXT, origin: 'http://localhost:3000' }],
    ['a page that sends bytes without a type', { origin: PAGE }],
    ['a form of another site', { ...FORM, 'sec-fetch-site': 'cross-site' }],
  ])('should be refused from %s', async (_, headers) => {
    const { engine, post } = setUp();
    for (const path of [GENERATE, '/v1/completions', '/infill']) {
      const response = await post(headers, path);
      expect(response.status).toBe(403);
      expect(await response.text()).toContain('origin');
    }
    expect(engine.requests).toEqual([]);
  });

  it('should be read from pages of the service itself, and of origins that may call', async () => {
    expect((await setUp().post({ ...TEXT, origin: 'http://localhost' })).status).toBe(200);
    expect((await setUp([PAGE]).post({ ...TEXT, origin: PAGE })).status).toBe(200);
    expect((await setUp(['*']).post({ ...TEXT, origin: PAGE })).status).toBe(200);
  });

  it('should be refused as another media type outside of /api/', async () => {
    expect((await setUp().post(FORM, '/v1/completions')).status).toBe(415);
  });
});

describe('a body of JSON', () => {
  it('should be read from any origin: a browser sends a preflight first', async () => {
    const response = await setUp().post({ 'content-type': 'application/json', origin: 'vscode-webview://x' });
    expect(response.status).toBe(200);
  });

  it.each([
    ['twice', 'application/json, application/json'],
    ['with a character set', 'application/json; charset="UTF-8"'],
  ])('should be read where its media type comes %s', async (_, type) => {
    expect((await setUp().post({ 'content-type': type }, '/v1/completions')).status).toBe(200);
  });

  it.each([
    ['UTF-16 by its mark', '\ufeff{"model":"nano"}', 'application/json'],
    ['UTF-16 without one', '{"model":"nano"}', 'application/json'],
    ['UTF-16 by its name', '{"model":"nano"}', 'application/json; charset=utf-16le'],
  ])('should be refused as what it is in %s', async (_, text, type) => {
    const app = createApp(catalogOf(scriptedEngine()));
    const sent = new Uint8Array(Buffer.from(text, 'utf16le'));
    const response = await app.request(GENERATE, { method: 'POST', headers: { 'content-type': type }, body: sent });
    expect(response.status).toBe(415);
    expect(await response.text()).toMatch(/utf-16/i);
  });
});
