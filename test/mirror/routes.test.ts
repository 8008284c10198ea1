import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createApp } from '../../src/app.ts';
import { gatewayOf } from '../../src/backend/gateway.ts';
import { newKey } from '../../src/middleware/api-keys.ts';
import { configuredMirror } from '../../src/mirror/configured.ts';
import { Mirror } from '../../src/mirror/mirror.ts';
import { readMirrorSettings } from '../../src/mirror/settings.ts';
import { readSettings, SettingsError } from '../../src/settings.ts';
import { StoreFailed } from '../../src/weights/errors.ts';
import { catalogOf, scriptedEngine } from '../support/scripted-engine.ts';
import { memoryStore } from '../weights/memory-store.ts';
import { sampleBytes } from '../weights/samples.ts';
import { type Hub, oidOf, REPO, startHub } from './hub.ts';

const text = (value: string) => new TextEncoder().encode(value);
const files = {
  'config.json': text('{"model_type":"tiny"}'),
  'onnx/with blank ü.bin': sampleBytes(10, 2),
  'model.safetensors': sampleBytes(5000),
};
const weights = files['model.safetensors'];
const MODEL = `/${REPO}/resolve/main/model.safetensors`;

let hub: Hub;

beforeEach(async () => {
  hub = await startHub(files, ['onnx']);
});

afterEach(() => hub.close());

function setUp({ refreshMs = 60_000, repos = ['acme/*'], store = memoryStore(), keys = '', token = '' } = {}) {
  const settings = { repos, url: hub.url, token: token || undefined, refreshMs };
  const log: string[] = [];
  const mirror = new Mirror(settings, { store, log: (line) => log.push(line), segmentBytes: 1000, retryDelayMs: 1 });
  const { keys: apiKeys } = readSettings({ API_KEYS: keys });
  const app = createApp(catalogOf(scriptedEngine()), gatewayOf([]), { keys: apiKeys }, { mirror });
  const get = (path: string, headers: Record<string, string> = {}, method = 'GET') =>
    app.request(path, { method, headers });
  return { get, store, log, app };
}

const bytesOf = async (response: Response) => new Uint8Array(await response.arrayBuffer());

describe('a file of a mirrored repository', () => {
  it('should come with what the client of the hub looks for', async () => {
    const { get } = setUp();
    const etag = `"${oidOf(weights)}"`;
    for (const method of ['HEAD', 'GET']) {
      const response = await get(MODEL, {}, method);
      expect(response.status).toBe(200);
      expect(Object.fromEntries(response.headers)).toMatchObject({
        etag,
        'x-linked-etag': etag,
        'x-linked-size': '5000',
        'x-repo-commit': hub.commit,
        'content-length': '5000',
        'accept-ranges': 'bytes',
        'content-type': 'application/octet-stream',
        'x-content-type-options': 'nosniff',
      });
      expect(await bytesOf(response)).toEqual(method === 'GET' ? weights : new Uint8Array());
    }
  });

  it('should not be pulled by a question about it', async () => {
    const { get } = setUp();
    await get(MODEL, {}, 'HEAD');
    expect(hub.requests.filter((request) => request.includes('resolve'))).toEqual([]);
  });

  it('should be found by branch, by commit, by an encoded revision, and by an encoded path', async () => {
    const { get } = setUp();
    for (const revision of ['main', hub.commit, 'refs%2Fpr%2F1']) {
      const response = await get(`/${REPO}/resolve/${revision}/onnx/with%20blank%20%C3%BC.bin`);
      expect(await bytesOf(response)).toEqual(files['onnx/with blank ü.bin']);
    }
  });

  it('should come in ranges', async () => {
    const { get } = setUp();
    const response = await get(MODEL, { range: 'bytes=1500-3499' });
    expect(response.status).toBe(206);
    expect(response.headers.get('content-range')).toBe('bytes 1500-3499/5000');
    expect(response.headers.get('content-length')).toBe('2000');
    expect(await bytesOf(response)).toEqual(weights.subarray(1500, 3500));
    expect(await bytesOf(await get(MODEL, { range: 'bytes=-10' }))).toEqual(weights.subarray(4990));
    const behind = await get(MODEL, { range: 'bytes=5000-' });
    expect([behind.status, behind.headers.get('content-range')]).toEqual([416, 'bytes */5000']);
  });

  it('should come whole when the range is of another version, and not at all when it is known', async () => {
    const { get } = setUp();
    const etag = `"${oidOf(weights)}"`;
    expect((await get(MODEL, { range: 'bytes=10-', 'if-range': etag })).status).toBe(206);
    expect((await get(MODEL, { range: 'bytes=10-', 'if-range': '"other"' })).status).toBe(200);
    for (const known of [etag, `W/${etag}`, `"other", ${etag}`, '*']) {
      expect((await get(MODEL, { 'if-none-match': known })).status).toBe(304);
    }
    expect((await get(MODEL, { 'if-none-match': '"other"' })).status).toBe(200);
  });

  it('should have no ranges for HEAD', async () => {
    const response = await setUp().get(MODEL, { range: 'bytes=5-9' }, 'HEAD');
    expect([response.status, response.headers.get('content-length')]).toEqual([200, '5000']);
  });

  it('should be empty, and say so to who asks for a first byte, when it is', async () => {
    await hub.close();
    hub = await startHub({ ...files, 'empty.txt': new Uint8Array() });
    const response = await setUp().get(`/${REPO}/resolve/main/empty.txt`, { range: 'bytes=0-0' });
    expect([response.status, response.headers.get('content-range')]).toEqual([200, 'bytes */0']);
    expect(await bytesOf(response)).toEqual(new Uint8Array());
  });

  it('should be refused as the hub does it, before any byte', async () => {
    hub.intercept = (request, response) => {
      if (!request.url!.includes('/resolve/')) return false;
      response.writeHead(403, { 'x-error-code': 'GatedRepo', 'x-error-message': 'Ask for access.' }).end();
      return true;
    };
    const response = await setUp().get(MODEL);
    expect([response.status, response.headers.get('x-error-code')]).toEqual([403, 'GatedRepo']);
    expect(await response.json()).toEqual({ error: 'Ask for access.' });
  });

  it('should not be had, by name, while the store cannot be read', async () => {
    const store = memoryStore();
    const { get } = setUp({ store });
    await get(MODEL, {}, 'HEAD');
    store.get = async () => {
      throw new StoreFailed('GET', 'answered 503', { status: 503, retryAfterSeconds: 9 });
    };
    const log = vi.spyOn(console, 'error').mockImplementation(() => {});
    const response = await get(MODEL);
    log.mockRestore();
    expect([response.status, response.headers.get('retry-after')]).toEqual([503, '9']);
  });
});

describe('the hub', () => {
  it('should not be asked a second time, but for where a branch points after a while', async () => {
    const store = memoryStore();
    await bytesOf(await setUp({ store }).get(MODEL));
    await vi.waitFor(() => expect(store.written.at(-1)).toMatch(/index\.json$/));
    hub.requests.length = 0;
    expect(await bytesOf(await setUp({ store }).get(MODEL))).toEqual(weights);
    expect(hub.requests).toEqual([]);
    expect(await bytesOf(await setUp({ store, refreshMs: 0 }).get(MODEL))).toEqual(weights);
    expect(hub.requests.map((request) => request.split('/').at(-1))).toEqual(['main', `${hub.commit}?recursive=true`]);
    hub.requests.length = 0;
    const byCommit = MODEL.replace('main', hub.commit);
    expect(await bytesOf(await setUp({ store, refreshMs: 0 }).get(byCommit))).toEqual(weights);
    expect(hub.requests).toEqual([]);
  });

  it('should be done without while it is down', async () => {
    const store = memoryStore();
    await bytesOf(await setUp({ store }).get(MODEL));
    await vi.waitFor(() => expect(store.written.at(-1)).toMatch(/index\.json$/));
    hub.intercept = (_, response) => {
      response.writeHead(503).end();
      return true;
    };
    const log = vi.spyOn(console, 'error').mockImplementation(() => {});
    expect(await bytesOf(await setUp({ store, refreshMs: 0 }).get(MODEL))).toEqual(weights);
    const other = await setUp({ store }).get(MODEL.replace('main', 'other'));
    log.mockRestore();
    expect(other.status).toBe(503);
  });

  it.each([
    ['a page', '<html>Sign in</html>'],
    ['more than it lists', 'x'.repeat(6000)],
  ])('should be at fault, not the store, where it sends %s in place of a file', async (_, sent) => {
    const { get } = setUp();
    hub.files.set(`${REPO}/resolve/${hub.commit}/model.safetensors`, text(sent));
    const log = vi.spyOn(console, 'error').mockImplementation(() => {});
    const response = await get(MODEL);
    log.mockRestore();
    expect(response.status).toBe(502);
    expect(await response.json()).toEqual({ error: 'The hub does not send this file as it lists it.' });
    hub.files.set(`${REPO}/resolve/${hub.commit}/model.safetensors`, weights);
    expect(await bytesOf(await get(MODEL))).toEqual(weights);
  });

  it('should be asked with the token of the mirror, and never with the key of a client', async () => {
    const { key, line } = await newKey('gpu');
    const { get } = setUp({ keys: line, token: 'hf_upstream' });
    expect((await get(MODEL)).status).toBe(401);
    expect(hub.requests).toEqual([]);
    expect(await bytesOf(await get(MODEL, { authorization: `Bearer ${key}` }))).toEqual(weights);
    expect(new Set(hub.authorizations)).toEqual(new Set(['Bearer hf_upstream']));
  });

  it.each([
    ['no JSON', () => text('<html>')],
    ['no commit', () => text('{"id":"a","sha":"main"}')],
    ['a commit that leads elsewhere', () => text('{"id":"a","sha":"../../../../nano"}')],
  ])('should not be believed when it answers with %s', async (_, answer) => {
    hub.files.set(`api/models/${REPO}/revision/main`, answer());
    const log = vi.spyOn(console, 'error').mockImplementation(() => {});
    const { get, store } = setUp();
    expect((await get(MODEL)).status).toBe(502);
    log.mockRestore();
    expect(store.written).toEqual([]);
  });

  it.each(['../../etc/passwd', '/etc/passwd', 'a\\..\\b', 'a/../b', 'C:/b', 'a\ud800'])(
    'should not be believed when it lists %j, but in all else',
    async (path) => {
      const name = `api/models/${REPO}/tree/${hub.commit}?recursive=true`;
      const tree = JSON.parse(new TextDecoder().decode(hub.files.get(name)));
      tree[1].path = path;
      hub.files.set(name, text(JSON.stringify(tree)));
      const { get, log } = setUp();
      const listed = (await (await get(`/api/models/${REPO}/tree/main?recursive=true`)).json()) as { path: string }[];
      expect(listed.map((entry) => entry.path)).toEqual(['onnx', 'onnx/with blank ü.bin', 'model.safetensors']);
      expect(log).toEqual([expect.stringContaining('is left out')]);
      expect(await bytesOf(await get(MODEL))).toEqual(weights);
    },
  );

  it('may have names with a colon, a question mark and all that addresses encode', async () => {
    await hub.close();
    const odd = { 'runs/2024-05-01T12:30:00/events.out': text('events'), 'C1_or_C2?_#%.txt': text('premise') };
    hub = await startHub({ ...files, ...odd });
    for (const [path, content] of Object.entries(odd)) {
      const address = path.split('/').map(encodeURIComponent).join('/');
      expect(await bytesOf(await setUp().get(`/${REPO}/resolve/main/${address}`))).toEqual(content);
    }
  });
});

describe('what a repository holds', () => {
  it('should be the same as on the hub, with sizes if requested', async () => {
    const { get } = setUp();
    const info = await (await get(`/api/models/${REPO}`)).json();
    expect(info).toEqual({
      id: REPO,
      sha: hub.commit,
      private: false,
      tags: ['test'],
      siblings: Object.keys(files).map((rfilename) => ({ rfilename })),
    });
    const full = (await (await get(`/api/models/${REPO}/revision/main?blobs=True`)).json()) as { siblings: object[] };
    expect(full.siblings[2]).toMatchObject({
      rfilename: 'model.safetensors',
      size: 5000,
      lfs: { sha256: oidOf(weights), size: 5000, pointerSize: 134 },
    });
  });

  it('should be listed in all folders or in one, without hashes of Xet', async () => {
    const { get } = setUp();
    const paths = async (query: string) => {
      const entries = (await (await get(`/api/models/${REPO}/tree/${query}`)).json()) as { path: string }[];
      expect(JSON.stringify(entries)).not.toContain('xetHash');
      return entries.map(({ path }) => path);
    };
    expect(await paths('main?recursive=true')).toEqual(['onnx', ...Object.keys(files)]);
    expect(await paths('main')).toEqual(['onnx', 'config.json', 'model.safetensors']);
    expect(await paths('main/onnx')).toEqual(['onnx/with blank ü.bin']);
    expect((await get(`/api/models/${REPO}/tree/main/none`)).headers.get('x-error-code')).toBe('EntryNotFound');
    expect(await paths('main?recursive=true&expand=true')).toEqual(await paths('main?recursive=true'));
  });
});

describe('paths, references and what git has', () => {
  const ask = (app: ReturnType<typeof setUp>['app'], body: string, type = 'application/json') =>
    app.request(`/api/models/${REPO}/paths-info/main`, { method: 'POST', headers: { 'content-type': type }, body });

  it.each([
    ['{"paths":["config.json","onnx/","none"],"expand":true}', 'application/json'],
    ['paths=config.json&paths=onnx&paths=none&expand=True', 'application/x-www-form-urlencoded'],
  ])('should be told of those that are there (%s)', async (body, type) => {
    const entries = (await (await ask(setUp().app, body, type)).json()) as { path: string }[];
    expect(entries.map(({ path }) => path)).toEqual(['onnx', 'config.json']);
  });

  it.each(['', '[]', '{"paths":5}', '{"paths":[5]}', '{'])(
    'should be asked for by a list of paths, not %j',
    async (body) => {
      expect((await ask(setUp().app, body)).status).toBe(400);
    },
  );

  it('should be the main branch and its commit', async () => {
    const { branches } = (await (await setUp().get(`/api/models/${REPO}/refs`)).json()) as { branches: object[] };
    expect(branches).toEqual([{ name: 'main', ref: 'refs/heads/main', targetCommit: hub.commit }]);
  });

  it('should be the file, or the pointer to one in LFS', async () => {
    const { get } = setUp();
    const config = await get(`/${REPO}/raw/main/config.json`);
    expect(await bytesOf(config)).toEqual(files['config.json']);
    const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${oidOf(weights)}\nsize 5000\n`;
    const raw = `/${REPO}/raw/main/model.safetensors`;
    expect(await (await get(raw)).text()).toBe(pointer);
    const first = await get(raw, { range: 'bytes=0-0' });
    expect([first.status, first.headers.get('content-range'), await first.text()]).toEqual([
      206,
      `bytes 0-0/${pointer.length}`,
      'v',
    ]);
    expect((await get(raw, {}, 'HEAD')).headers.get('content-length')).toBe(String(pointer.length));
    expect((await get(`/${REPO}/raw/main/none`, {}, 'HEAD')).status).toBe(404);
    expect(hub.requests.some((request) => request.includes('model.safetensors'))).toBe(false);
  });
});

describe('a refusal', () => {
  it.each([
    ['EntryNotFound', `/${REPO}/resolve/main/none.json`],
    ['RevisionNotFound', `/${REPO}/resolve/..%2fmain/config.json`],
    ['RepoNotFound', '/acme/none/resolve/main/config.json'],
    ['RepoNotFound', '/other/tiny/resolve/main/config.json'],
    ['RepoNotFound', '/acme/..%2fother%2ftiny/resolve/main/config.json'],
  ])('should be %s for %s', async (code, path) => {
    const response = await setUp().get(path);
    expect([response.status, response.headers.get('x-error-code')]).toEqual([404, code]);
    expect(hub.requests.every((request) => request.includes('acme/'))).toBe(true);
  });

  it('should say in which commit a file is missing', async () => {
    const response = await setUp().get(`/${REPO}/resolve/main/none.json`);
    expect(response.headers.get('x-repo-commit')).toBe(hub.commit);
  });
});

describe('without the setting', () => {
  it('should mirror nothing', async () => {
    expect(readMirrorSettings({})).toBeUndefined();
    const app = createApp(catalogOf(scriptedEngine()));
    const response = await app.request(MODEL);
    expect(response.status).toBe(404);
    expect(response.headers.get('x-error-code')).toBeNull();
  });

  it.each([
    [{ HF_MIRROR_REPOS: 'https://huggingface.co/a/b' }, /^HF_MIRROR_REPOS must hold/],
    [{ HF_MIRROR_REPOS: 'a/b', HF_MIRROR_UPSTREAM: 'ftp://a' }, /^HF_MIRROR_UPSTREAM must be/],
    [{ HF_MIRROR_REPOS: 'a/b', HF_MIRROR_REFRESH_SECONDS: 'soon' }, /^HF_MIRROR_REFRESH_SECONDS must be/],
  ])('should refuse %j', (variables, message) => {
    expect(() => readMirrorSettings(variables)).toThrow(message);
  });

  it('should refuse a store that is only read', () => {
    const weights = { store: memoryStore(), writable: undefined, source: () => ({ size: vi.fn(), open: vi.fn() }) };
    expect(() => configuredMirror({ HF_MIRROR_REPOS: 'a/b' }, weights)).toThrow(SettingsError);
  });
});
