import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { describeModel } from '../../src/engine/create.ts';
import { ModelUnavailable } from '../../src/engine/provider.ts';
import type { EngineParts } from '../../src/engine/types.ts';
import { httpStore } from '../../src/weights/http-store.ts';
import { modelLoader } from '../../src/weights/model-loader.ts';
import { pullThrough } from '../../src/weights/pull-through.ts';
import type { Bytes } from '../../src/weights/store.ts';
import { scriptedEngine } from '../support/scripted-engine.ts';
import { memoryStore } from './memory-store.ts';
import { type Origin, startOrigin } from './origin.ts';
import { sampleModel } from './samples.ts';

const MODEL = 'm';
const WEIGHTS = 'm/model.safetensors';
const PART = 64 * 1024;

let files: Map<string, Bytes>;
let origin: Origin;

beforeEach(async () => {
  files = sampleModel(MODEL);
  origin = await startOrigin(new Map(files));
});

afterEach(() => origin.close());

/** A loader over a store with an origin; it counts the engines that it made and keeps their weights. */
function setUp(store = memoryStore(), stallMs = 30_000) {
  const log: string[] = [];
  const made: Uint8Array[] = [];
  const from = httpStore({ baseUrl: origin.url, retryDelayMs: 1 });
  const provider = () =>
    modelLoader({
      model: MODEL,
      source: pullThrough({
        store,
        origin: from,
        model: MODEL,
        partBytes: PART,
        log: (line) => log.push(line),
        retryDelayMs: 1,
        stallMs,
      }),
      kernels: {} as EngineParts['kernels'],
      describeModel,
      createEngine: async (parts) => {
        made.push(new Uint8Array(await new Response(await parts.openWeights()).arrayBuffer()));
        return scriptedEngine();
      },
    });
  const load = () => provider().engine(() => {});
  return { store, log, made, load };
}

async function failureOf(promise: Promise<unknown>): Promise<ModelUnavailable> {
  const error = await promise.catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(ModelUnavailable);
  return error as ModelUnavailable;
}

describe('a model that is not in storage', () => {
  it('should be fetched from its origin, stored with the manifest last, and served', async () => {
    const { store, made, load } = setUp();
    await load();
    expect(made).toEqual([files.get(WEIGHTS)]);
    expect(store.objects).toEqual(files);
    expect(store.written.at(-1)).toBe('m/manifest.json');
  });

  it('should not be fetched a second time', async () => {
    const { load, made } = setUp();
    await load();
    const requests = origin.requests.length;
    await load();
    expect(made).toHaveLength(2);
    expect(origin.requests).toHaveLength(requests);
  });

  it('should be fetched once for all who come together', async () => {
    const { load, made } = setUp();
    await Promise.all([load(), load(), load(), load()]);
    expect(made).toHaveLength(4);
    for (const name of files.keys()) {
      expect(origin.requests.filter((request) => request.startsWith(`GET ${name}`))).toHaveLength(1);
    }
  });

  it('should be fetched through cuts, each time from where it broke off', async () => {
    origin.intercept = (request) => {
      if (request.url === `/${WEIGHTS}` && origin.cuts.length === 0 && !request.headers.range)
        origin.cuts = [70_000, 1, 0];
      return false;
    };
    const { made, load } = setUp();
    await load();
    expect(made).toEqual([files.get(WEIGHTS)]);
    const asked = origin.requests.filter((request) => request.startsWith(`GET ${WEIGHTS}`));
    expect(asked).toHaveLength(4);
    expect(asked[1]).toMatch(/ bytes=[1-9]\d*-$/);
  });

  it('should be fetched on after a stall', async () => {
    let stalled = false;
    origin.intercept = (request, response) => {
      if (stalled || request.method !== 'GET' || request.url !== `/${WEIGHTS}`) return false;
      stalled = true;
      response.writeHead(200, { 'content-length': 200_000 }).write('');
      return true;
    };
    const { made, load } = setUp(memoryStore(), 500);
    await load();
    expect(made).toEqual([files.get(WEIGHTS)]);
  });

  it('should be missing when the origin does not have it either', async () => {
    origin.files.clear();
    expect(await failureOf(setUp().load())).toMatchObject({ reason: 'missing', files: ['manifest.json'] });
  });

  it('should fail, and be fetched by a later request, while the origin is down', async () => {
    const { load, made, store } = setUp();
    origin.intercept = (_, response) => {
      response.writeHead(500).end();
      return true;
    };
    expect(await failureOf(load())).toMatchObject({ reason: 'failed' });
    origin.intercept = () => false;
    await load();
    expect(made).toHaveLength(1);
    expect(store.objects).toEqual(files);
  });
});

describe('a damaged file', () => {
  it.each([
    ['damaged', (bytes: Bytes) => bytes.slice().fill(bytes[7]! ^ 1, 7, 8)],
    ['truncated', (bytes: Bytes) => bytes.slice(0, 1000)],
  ])('of the origin should be refused and never become visible (%s)', async (_, spoil) => {
    origin.files.set(WEIGHTS, spoil(files.get(WEIGHTS)!));
    const { store, made, load } = setUp();
    expect(await failureOf(load())).toMatchObject({ reason: 'damaged', files: ['model.safetensors'] });
    expect(made).toEqual([]);
    expect([...store.objects.keys()]).toEqual(['m/config.json', 'm/tokenizer.json']);
    expect(store.loose.size).toBe(0);
    origin.files.set(WEIGHTS, files.get(WEIGHTS)!);
    await load();
    expect(made).toEqual([files.get(WEIGHTS)]);
  });

  it.each([
    ['damaged', WEIGHTS, (bytes: Bytes) => bytes.slice().fill(bytes[7]! ^ 1, 7, 8)],
    ['truncated', WEIGHTS, (bytes: Bytes) => bytes.slice(0, 1000)],
    ['damaged', 'm/config.json', (bytes: Bytes) => bytes.slice().fill(0, 0, 1)],
    ['damaged', 'm/manifest.json', (bytes: Bytes) => bytes.slice(1)],
  ])('in storage should be removed and fetched again (%s %s)', async (_, name, spoil) => {
    const stored = new Map(files);
    stored.set(name, spoil(files.get(name)!));
    const { store, made, load, log } = setUp(memoryStore(stored));
    await load();
    expect(made.at(-1)).toEqual(files.get(WEIGHTS));
    expect(store.objects).toEqual(files);
    const others = origin.requests.filter((request) => /^GET/.test(request) && !/manifest/.test(request));
    expect(others).toEqual(name === 'm/manifest.json' ? [] : [`GET ${name}`]);
    expect(log.some((line) => line.includes('fetched'))).toBe(name !== 'm/manifest.json');
  });

  it('should not be taken for one where the store tells no sizes, nor removed', async () => {
    const stored = new Map(files);
    stored.delete('m/manifest.json');
    const store = memoryStore(stored);
    const { head, get } = store;
    store.head = async (name) => (await head(name)) && { size: undefined, etag: '' };
    store.get = async (name, range) => {
      const object = await get(name, range);
      return object && { ...object, size: undefined };
    };
    const { load, made } = setUp(store);
    await load();
    expect(made).toEqual([files.get(WEIGHTS)]);
    expect(store.written).toEqual(['m/manifest.json']);
  });

  it('should not be taken for one where the origin tells no sizes', async () => {
    origin.intercept = (request, response) => {
      const file = origin.files.get(request.url!.slice(1));
      if (file === undefined) return false;
      response.writeHead(200).write(request.method === 'HEAD' ? '' : file);
      response.end();
      return true;
    };
    const { load, store } = setUp();
    await load();
    expect(store.objects).toEqual(files);
  });

  it('that is missing in storage should be fetched alone', async () => {
    const stored = new Map(files);
    stored.delete('m/tokenizer.json');
    const { store, load } = setUp(memoryStore(stored));
    await load();
    expect(store.objects).toEqual(files);
    expect(origin.requests.filter((request) => /^GET/.test(request))).toEqual([
      'GET m/manifest.json',
      'GET m/tokenizer.json',
    ]);
  });
});

it('should not write outside of its folder whatever the manifest of the origin names', async () => {
  const manifest = new TextDecoder().decode(files.get('m/manifest.json')!);
  for (const path of ['../other/config.json', '/etc/passwd', 'a//b', '.', 'a/../../b', 'a\\\\b', '%2e%2e/b', '']) {
    origin.files.set('m/manifest.json', new TextEncoder().encode(manifest.replace('tokenizer.json', path)));
    const { store, load } = setUp();
    expect(await failureOf(load())).toMatchObject({ reason: 'damaged', files: ['manifest.json'] });
    expect(store.written).toEqual([]);
  }
});
