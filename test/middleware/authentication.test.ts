import { describe, expect, it } from 'vitest';
import { newKey } from '../../src/middleware/api-keys.ts';
import { readSettings } from '../../src/settings.ts';
import { errorOf } from '../support/requests.ts';
import { keysOf, serviceWith } from './support.ts';

describe('a key for metrics', () => {
  it('should open /metrics and nothing else', async () => {
    const [{ key, line }, other] = await Promise.all([newKey('prometheus', { scope: 'metrics' }), newKey('laptop')]);
    const { keys } = readSettings({ API_KEYS: `${line},${other.line}` });
    const { app, complete, engine } = serviceWith({ keys });
    const headers = { 'x-api-key': key };
    expect((await app.request('/metrics', { headers })).status).toBe(200);
    for (const path of [
      '/v1/models',
      '/metrics/',
      '/v1beta/server_setting',
      '/models/nano/manifest.json',
      '/nowhere',
    ]) {
      expect((await app.request(path, { headers })).status).toBe(403);
    }
    expect(await errorOf(await complete({}, headers))).toMatchObject({
      status: 403,
      type: 'authentication_error',
      code: 'key_not_permitted',
    });
    expect(engine.requests).toHaveLength(0);
    expect((await complete({}, { 'x-api-key': other.key })).status).toBe(200);
  });
});

describe('a service with keys', async () => {
  const { texts, keys } = await keysOf('laptop', 'office');
  const { app, complete, engine } = serviceWith({ keys });

  it.each([
    ['a bearer token', { authorization: `Bearer ${texts[0]}` }],
    ['a bearer token in small letters', { authorization: `bearer ${texts[0]}` }],
    ['the header x-api-key', { 'x-api-key': texts[1]! }],
  ])('should answer a request with %s', async (_, headers) => {
    expect((await complete({}, headers)).status).toBe(200);
  });

  it.each([
    ['no key', {}, 'missing_api_key'],
    ['an empty bearer token', { authorization: 'Bearer ' }, 'missing_api_key'],
    ['another scheme', { authorization: `Basic ${texts[0]}` }, 'missing_api_key'],
    ['a wrong key', { authorization: 'Bearer qs_wrong' }, 'invalid_api_key'],
    ['a key with something behind it', { 'x-api-key': `${texts[0]}x` }, 'invalid_api_key'],
    ['the hash of a key', { 'x-api-key': Buffer.from(keys[0]!.hash).toString('hex') }, 'invalid_api_key'],
  ])('should answer 401 to %s', async (_, headers, code) => {
    const before = engine.requests.length;
    const response = await complete({}, headers as Record<string, string>);
    expect(response.headers.get('www-authenticate')).toBe('Bearer realm="quicksilver"');
    expect(response.headers.get('x-request-id')).toBeTruthy();
    const error = await errorOf(response);
    expect(error).toMatchObject({ status: 401, type: 'authentication_error', param: null, code });
    expect(engine.requests).toHaveLength(before);
  });

  it.each(['/v1/models', '/metrics', '/nowhere', '/health/', '//health'])('should answer 401 at %s', async (path) => {
    expect((await app.request(`http://localhost${path}`)).status).toBe(401);
  });

  it.each(['/', '/health', '/ready', '/openapi.json', '/docs'])(
    'should answer %s to anybody, from anywhere',
    async (path) => {
      expect((await app.request(`https://service.example${path}`)).status).toBe(200);
    },
  );

  it('should answer with a key from anywhere', async () => {
    const response = await app.request('https://service.example/v1/models', { headers: { 'x-api-key': texts[0]! } });
    expect(response.status).toBe(200);
  });
});

describe('a service without keys', () => {
  const { app } = serviceWith();
  const models = (origin: string, headers: Record<string, string> = {}) =>
    app.request(`${origin}/v1/models`, { headers });

  it.each(['http://localhost:8787', 'http://127.0.0.1', 'http://127.1.2.3', 'http://[::1]:80', 'http://qs.localhost'])(
    'should answer on %s',
    async (origin) => {
      expect((await models(origin)).status).toBe(200);
    },
  );

  it.each([
    'https://service.example',
    'http://192.168.1.5:8787',
    'http://0.0.0.0',
    'http://localhost.example',
    'http://notlocalhost',
    'http://127.0.0.1.example',
  ])('should answer 403 on %s and say why', async (origin) => {
    const error = await errorOf(await models(origin));
    expect(error).toMatchObject({ status: 403, type: 'authentication_error', code: 'no_api_keys_configured' });
    expect(error.message).toContain('no API keys configured');
  });

  it.each(['cf-connecting-ip', 'x-forwarded-for', 'x-real-ip'])(
    'should answer 403 if a proxy reports a foreign address: %s',
    async (header) => {
      expect((await models('http://localhost', { [header]: '203.0.113.9' })).status).toBe(403);
      expect((await models('http://localhost', { [header]: '127.0.0.1, 203.0.113.9' })).status).toBe(403);
      expect((await models('http://localhost', { [header]: '127.0.0.1' })).status).toBe(200);
      expect((await models('http://localhost', { [header]: '::1' })).status).toBe(200);
    },
  );

  it('should ignore any key that a client sends', async () => {
    expect((await models('http://localhost', { authorization: 'Bearer none' })).status).toBe(200);
  });

  it('should stay alive and ready for anybody', async () => {
    expect((await app.request('https://service.example/ready')).status).toBe(200);
  });
});
