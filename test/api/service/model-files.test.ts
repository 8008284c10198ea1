import { describe, expect, it, vi } from 'vitest';
import { createApp } from '../../../src/app.ts';
import { gatewayOf } from '../../../src/backend/gateway.ts';
import type { WeightSource } from '../../../src/weights/source.ts';
import { keysOf } from '../../middleware/support.ts';
import { errorOf } from '../../support/requests.ts';
import { catalogOf, scriptedEngine } from '../../support/scripted-engine.ts';

const SHA256 = 'a'.repeat(64);
const NAMES = ['config.json', 'tokenizer.json', 'model.safetensors'];
const MANIFEST = { name: 'nano', files: NAMES.map((path) => ({ path, size: 4, sha256: SHA256 })) };

const FILES: Record<string, string> = {
  'manifest.json': JSON.stringify(MANIFEST),
  'config.json': '{}  ',
  'model.safetensors': 'bits',
  'secret.txt': 'not in the manifest',
};

const source: WeightSource = {
  size: async (file) => FILES[file]?.length ?? null,
  open: async (file) => new Response(FILES[file]).body,
};

const missing: WeightSource = { size: async () => null, open: async () => null };

function ask(path: string, weights: WeightSource | undefined = source, init: RequestInit = {}) {
  const app = createApp(
    catalogOf(scriptedEngine()),
    gatewayOf([]),
    {},
    weights ? { weights: new Map([['nano', weights]]) } : {},
  );
  return app.request(path, init);
}

describe('GET /models/:name/:file', () => {
  it('should give the manifest, and the files in it under the ETag of their content', async () => {
    expect(await (await ask('/models/nano/manifest.json')).json()).toEqual(MANIFEST);
    const weights = await ask('/models/nano/model.safetensors');
    expect(await weights.text()).toBe('bits');
    expect(weights.headers.get('content-type')).toBe('application/octet-stream');
    expect(weights.headers.get('etag')).toBe(`"${SHA256}"`);
    expect((await ask('/models/nano/config.json')).headers.get('content-type')).toBe('application/json');
  });

  it('should send the length of a file without opening it', async () => {
    const opened: string[] = [];
    const open = (file: string) => {
      opened.push(file);
      return source.open(file);
    };
    const watched: WeightSource = { ...source, open };
    const head = await ask('/models/nano/model.safetensors', watched, { method: 'HEAD' });
    expect([head.status, head.headers.get('content-length')]).toEqual([200, '4']);
    expect(head.headers.get('etag')).toBe(`"${SHA256}"`);
    expect(await head.text()).toBe('');
    expect(opened).toEqual(['manifest.json']);
    expect((await ask('/models/nano/tokenizer.json', source, { method: 'HEAD' })).status).toBe(503);
    const get = await ask('/models/nano/model.safetensors', watched);
    expect(get.headers.get('content-length')).toBe('4');
  });

  it('should not send again what the client has', async () => {
    const headers = { 'if-none-match': `"${SHA256}"` };
    const response = await ask('/models/nano/model.safetensors', source, { headers });
    expect(response.status).toBe(304);
    expect(await response.text()).toBe('');
  });

  it.each([
    ['/models/nano/secret.txt', 'file_not_found'],
    ['/models/nano/..%2Fother', 'file_not_found'],
    ['/models/other/manifest.json', 'model_not_found'],
  ])('should give nothing else: %s', async (path, code) => {
    expect(await errorOf(await ask(path))).toMatchObject({ status: 404, code });
  });

  it('should give nothing where the service has no files', async () => {
    const app = createApp(catalogOf(scriptedEngine()));
    const response = await app.request('/models/nano/manifest.json');
    expect(await errorOf(response)).toMatchObject({ status: 404, code: 'file_not_found' });
  });

  it('should say what is missing', async () => {
    const log = vi.spyOn(console, 'error').mockImplementation(() => {});
    const unavailable = { status: 503, code: 'model_unavailable' };
    const nothing = await errorOf(await ask('/models/nano/manifest.json', missing));
    expect(nothing).toMatchObject(unavailable);
    expect(nothing.message).toContain('missing manifest.json');
    const noTokenizer = { ...source, open: async (file: string) => (file in FILES ? source.open(file) : null) };
    const tokenizer = await errorOf(await ask('/models/nano/tokenizer.json', noTokenizer));
    expect(tokenizer).toMatchObject(unavailable);
    expect(tokenizer.message).toContain('missing tokenizer.json');
    log.mockRestore();
  });

  it('should need a key where the service has keys', async () => {
    const { keys } = await keysOf('laptop');
    const app = createApp(
      catalogOf(scriptedEngine()),
      gatewayOf([]),
      { keys },
      { weights: new Map([['nano', source]]) },
    );
    expect((await app.request('/models/nano/manifest.json')).status).toBe(401);
  });
});
