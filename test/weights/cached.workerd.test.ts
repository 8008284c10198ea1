import { beforeEach, describe, expect, it } from 'vitest';
import { describeModel } from '../../src/engine/create.ts';
import type { EngineParts } from '../../src/engine/types.ts';
import { cachedSource, type WeightCache } from '../../src/weights/cached.ts';
import { modelLoader } from '../../src/weights/model-loader.ts';
import { modelSource } from '../../src/weights/store.ts';
import { scriptedEngine } from '../support/scripted-engine.ts';
import { memoryStore } from './memory-store.ts';
import { sampleModel, sha256Of } from './samples.ts';

const MODEL = 'm';
const files = sampleModel(MODEL);
const weights = files.get('m/model.safetensors')!;
const keyOf = (bytes: Uint8Array) => `https://weights.invalid/sha256/${sha256Of(bytes)}`;
const platform = (caches as unknown as { default: WeightCache }).default;

beforeEach(async () => {
  for (const content of files.values()) await platform.delete(keyOf(content));
});

/** Loads the model from a store with the cache in front; `opened` are the files that were read from the store. */
function setUp(cache: WeightCache = platform, objects = new Map(files)) {
  const store = memoryStore(objects);
  const opened: string[] = [];
  const counted: typeof store = {
    ...store,
    get: (name, range) => {
      opened.push(name);
      return store.get(name, range);
    },
  };
  const made: Uint8Array[] = [];
  const load = () =>
    modelLoader({
      model: MODEL,
      source: cachedSource(modelSource(counted, MODEL), cache, MODEL),
      kernels: {} as EngineParts['kernels'],
      describeModel,
      createEngine: async (parts) => {
        made.push(new Uint8Array(await new Response(await parts.openWeights()).arrayBuffer()));
        return scriptedEngine();
      },
    }).engine(() => {});
  return { load, made, opened, store };
}

describe('the cache in front of a store', () => {
  it('should give files the second time without asking the store', async () => {
    const { load, made, opened } = setUp();
    await load();
    expect(opened.sort()).toEqual([...files.keys()].sort());
    opened.length = 0;
    await load();
    expect(opened).toEqual(['m/manifest.json']);
    expect(made).toEqual([weights, weights]);
  });

  it('should take in nothing that is damaged', async () => {
    const damaged = new Map(files).set('m/model.safetensors', weights.slice().fill(weights[7]! ^ 1, 7, 8));
    const { load } = setUp(platform, damaged);
    await expect(load()).rejects.toMatchObject({ reason: 'damaged', files: ['model.safetensors'] });
    expect(await platform.match(keyOf(weights))).toBeUndefined();
    expect(await platform.match(keyOf(files.get('m/config.json')!))).toBeDefined();
  });

  it('should drop a copy that is damaged and read the store instead', async () => {
    const response = new Response(weights.slice().fill(0), { headers: { 'cache-control': 'public, max-age=1000' } });
    await platform.put(keyOf(weights), response);
    const { load, made } = setUp();
    await load();
    expect(made.at(-1)).toEqual(weights);
    const kept = await (await platform.match(keyOf(weights)))?.arrayBuffer();
    expect(new Uint8Array(kept!)).toEqual(weights);
  });

  it('should not give a file that the store no longer has', async () => {
    const { load, store } = setUp();
    await load();
    await store.delete('m/tokenizer.json');
    await expect(load()).rejects.toMatchObject({ reason: 'missing', files: ['tokenizer.json'] });
  });

  it.each<[string, WeightCache]>([
    ['keeps nothing', { match: async () => undefined, put: async () => {}, delete: async () => false }],
    [
      'is not there',
      {
        match: () => Promise.reject(new Error('No Cache was configured')),
        put: () => Promise.reject(new Error('No Cache was configured')),
        delete: () => Promise.reject(new Error('No Cache was configured')),
      },
    ],
  ])('should be left alone where it %s', async (_, cache) => {
    const { load, made, opened } = setUp(cache);
    await load();
    await load();
    expect(made).toEqual([weights, weights]);
    expect(opened.filter((name) => name.endsWith('safetensors'))).toHaveLength(2);
  });
});
