import { describe, expect, it, vi } from 'vitest';
import { POLICY } from '../../../src/api/service/playground.ts';
import { createApp } from '../../../src/app.ts';
import { gatewayOf } from '../../../src/backend/gateway.ts';
import { keysOf } from '../../middleware/support.ts';
import { errorOf } from '../../support/requests.ts';
import { catalogOf, scriptedEngine } from '../../support/scripted-engine.ts';

const FILES: Record<string, string> = {
  '/index.html': '<!doctype html>',
  '/assets/index-1a2b.js': 'start()',
  '/assets/kernels-3c4d.wasm': '\0asm',
  '/service-worker.js': 'self',
};

function setUp(keys = false) {
  const fetch = vi.fn(async (request: Request) => {
    const text = FILES[new URL(request.url).pathname];
    if (text === undefined) return new Response('not here', { status: 404 });
    if (request.headers.get('if-none-match') === '"e"')
      return new Response(null, { status: 304, headers: { etag: '"e"' } });
    return new Response(text, { headers: { etag: '"e"', 'content-type': 'text/wrong' } });
  });
  const appOf = async () => {
    const operations = keys ? { keys: (await keysOf('laptop')).keys } : {};
    return createApp(catalogOf(scriptedEngine()), gatewayOf([]), operations, { assets: { fetch } });
  };
  const get = async (path: string, headers: Record<string, string> = {}) => (await appOf()).request(path, { headers });
  return { fetch, get, appOf };
}

const BROWSER = 'text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8';

describe('/', () => {
  it('should be the page for a browser, under a policy without inline scripts and styles', async () => {
    const response = await setUp().get('/', { accept: BROWSER });
    expect(await response.text()).toBe('<!doctype html>');
    expect(response.headers.get('content-type')).toBe('text/html; charset=utf-8');
    expect(response.headers.get('vary')).toContain('accept');
    expect(response.headers.get('cache-control')).toBe('no-cache');
    const policy = response.headers.get('content-security-policy')!;
    expect(policy).toBe(POLICY);
    expect(policy).toContain("default-src 'none'");
    expect(policy).toContain("script-src 'self' 'wasm-unsafe-eval'");
    expect(policy).not.toMatch(/unsafe-inline|'unsafe-eval'|data:/);
  });

  it.each([{}, { accept: '*/*' }, { accept: 'application/json' }, { accept: 'text/html;q=0.5, application/json' }])(
    'should describe the service as JSON for %j',
    async (headers) => {
      const { get, fetch } = setUp();
      expect(await (await get('/', headers)).json()).toMatchObject({ name: 'quicksilver', model: 'nano' });
      expect(fetch).not.toHaveBeenCalled();
    },
  );

  it('should describe the service as JSON if the platform has no page', async () => {
    const app = createApp(catalogOf(scriptedEngine()));
    const response = await app.request('/', { headers: { accept: BROWSER } });
    expect(await response.json()).toMatchObject({ name: 'quicksilver' });
  });

  it('should describe the service as JSON if the page was not built', async () => {
    const assets = { fetch: async () => new Response(null, { status: 404 }) };
    const app = createApp(catalogOf(scriptedEngine()), gatewayOf([]), {}, { assets });
    const response = await app.request('/', { headers: { accept: BROWSER } });
    expect(await response.json()).toMatchObject({ name: 'quicksilver' });
  });
});

describe('the files of the page', () => {
  it.each([
    ['/assets/index-1a2b.js', 'text/javascript; charset=utf-8', 'public, max-age=31536000, immutable'],
    ['/assets/kernels-3c4d.wasm', 'application/wasm', 'public, max-age=31536000, immutable'],
    ['/service-worker.js', 'text/javascript; charset=utf-8', 'no-cache'],
  ])('should come with their type and as long as they stay the same: %s', async (path, type, caching) => {
    const response = await setUp().get(path);
    expect(await response.text()).toBe(FILES[path]);
    expect(response.headers.get('content-type')).toBe(type);
    expect(response.headers.get('cache-control')).toBe(caching);
    expect(response.headers.get('x-content-type-options')).toBe('nosniff');
  });

  it('should not be sent again to who has them', async () => {
    const response = await setUp().get('/service-worker.js', { 'if-none-match': '"e"' });
    expect(response.status).toBe(304);
    expect(response.headers.get('etag')).toBe('"e"');
  });

  it('should need no key, while everything else does', async () => {
    const { get } = setUp(true);
    expect((await get('/', { accept: BROWSER })).status).toBe(200);
    expect((await get('/assets/index-1a2b.js')).status).toBe(200);
    expect((await get('/v1/models')).status).toBe(401);
  });

  it('should answer 404 when they do not exist, and only allow GET and HEAD', async () => {
    const { get, appOf } = setUp();
    expect(await errorOf(await get('/assets/other.js'))).toMatchObject({ status: 404, code: 'route_not_found' });
    expect((await (await appOf()).request('/service-worker.js', { method: 'POST' })).status).toBe(404);
    const head = await (await appOf()).request('/service-worker.js', { method: 'HEAD' });
    expect(head.status).toBe(200);
    expect(await head.text()).toBe('');
  });
});
