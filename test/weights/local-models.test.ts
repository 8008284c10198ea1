/** Several models of one store: loaded when they are asked for, each by itself, within the memory of one isolate. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { LARGEST_MEMORY_BYTES } from '../../src/denoiser/three-stream/memory.ts';
import { describeModel } from '../../src/engine/create.ts';
import type { EngineParts } from '../../src/engine/types.ts';
import { localModels } from '../../src/weights/local-models.ts';
import { type Bytes, modelSource } from '../../src/weights/store.ts';
import { MODELS } from '../../support/models-folder.ts';
import { scriptedEngine } from '../support/scripted-engine.ts';
import { memoryStore } from './memory-store.ts';
import { manifestOf, sampleBytes } from './samples.ts';

const keepAlive = () => {};
const WEIGHT_BYTES = { large: 3_000_000, little: 1_000_000 };
const config: Bytes = new Uint8Array(await readFile(join(MODELS, 'nano/config.json')));

/** The files of a model with the configuration of nano and weights of this length. */
function filesOf(name: string, weightBytes: number): [string, Bytes][] {
  const files: Record<string, Bytes> = {
    'config.json': config,
    'tokenizer.json': new TextEncoder().encode('{"version":"1.0"}'),
    'model.safetensors': sampleBytes(weightBytes),
  };
  const all = { ...files, 'manifest.json': new TextEncoder().encode(manifestOf(files, name)) };
  return Object.entries(all).map(([path, content]) => [`${name}/${path}`, content]);
}

function setUp(names: readonly string[] = ['large', 'little']) {
  const store = memoryStore(new Map(Object.entries(WEIGHT_BYTES).flatMap(([name, bytes]) => filesOf(name, bytes))));
  const opened: string[] = [];
  const made: EngineParts[] = [];
  const watched = {
    ...store,
    get: (...[name, range]: Parameters<typeof store.get>) => {
      opened.push(name);
      return store.get(name, range);
    },
  };
  const models = localModels({
    names,
    source: (name) => modelSource(watched, name),
    kernels: {} as EngineParts['kernels'],
    createEngine: async (parts) => {
      made.push(parts);
      await new Response(await parts.openWeights()).arrayBuffer();
      const engine = scriptedEngine();
      Object.assign(engine.model, parts.model);
      return engine;
    },
    describeModel,
    limits: { maxWaiting: 7 },
  });
  const limitsOf = (model: string) => made.find((parts) => parts.model.id === model)?.limits;
  const weightsRead = () => opened.filter((name) => name.endsWith('/model.safetensors'));
  return { models, made, store, limitsOf, weightsRead, opened };
}

describe('several models', () => {
  it('should be loaded one by one, when they are asked for', async () => {
    const { models, weightsRead, opened } = setUp();
    expect(models.names).toEqual(['large', 'little']);
    expect(opened).toEqual([]);
    await models.find('little')!.engine(keepAlive);
    expect(weightsRead()).toEqual(['little/model.safetensors']);
    expect(models.all.map(({ status }) => status.state)).toEqual(['not_loaded', 'loaded']);
    await models.default.engine(keepAlive);
    await models.find('little')!.engine(keepAlive);
    expect(weightsRead()).toEqual(['little/model.safetensors', 'large/model.safetensors']);
  });

  it('should be described without being loaded', async () => {
    const { models, weightsRead } = setUp();
    expect(await models.default.info(keepAlive)).toMatchObject({
      id: 'large',
      contextLength: 416,
      window: { prefixTokens: 256, suffixTokens: 128 },
      diffusion: { canvasWidths: [2, 4, 8, 16, 32] },
      stored: { size: expect.any(Number), parameters: 5_476_352 },
    });
    expect(weightsRead()).toEqual([]);
    expect(models.default.status).toEqual({ state: 'not_loaded' });
  });

  it('should fail one by one, and load once the store is mended', async () => {
    const { models, store } = setUp();
    const weights = store.objects.get('large/model.safetensors')!;
    const damaged = weights.slice();
    damaged[0]! ^= 1;
    store.objects.set('large/model.safetensors', damaged);
    const fault = { name: 'ModelUnavailable', reason: 'damaged', files: ['model.safetensors'] };
    await expect(models.default.engine(keepAlive)).rejects.toMatchObject(fault);
    expect(models.default.status).toMatchObject({ state: 'unavailable', error: fault });
    await models.find('little')!.engine(keepAlive);
    store.objects.set('large/model.safetensors', weights);
    await models.default.engine(keepAlive);
    expect(models.default.status).toEqual({ state: 'loaded' });
  });

  it('should say what is missing without being loaded', async () => {
    const { models, store } = setUp();
    store.objects.delete('little/tokenizer.json');
    const fault = { reason: 'missing', files: ['tokenizer.json'] };
    await expect(models.find('little')!.info(keepAlive)).rejects.toMatchObject(fault);
    await expect(models.default.info(keepAlive)).resolves.toMatchObject({ id: 'large' });
  });
});

describe('the memory of an isolate', () => {
  it.each([
    [
      ['large', 'little'],
      ['large', 'little'],
    ],
    [
      ['large', 'little'],
      ['little', 'large'],
    ],
    [
      ['little', 'large'],
      ['little', 'large'],
    ],
  ])('should go to the larger of %j but for what the other needs, when loaded as %j', async (names, order) => {
    const { models, limitsOf } = setUp(names);
    for (const name of order) await models.find(name)!.engine(keepAlive);
    const [large, little] = [limitsOf('large')!.memoryBytes!, limitsOf('little')!.memoryBytes!];
    expect(large + little).toBe(LARGEST_MEMORY_BYTES);
    expect(little).toBeGreaterThan(WEIGHT_BYTES.little);
    expect(little).toBeLessThan(WEIGHT_BYTES.little + 10 * 2 ** 20);
    expect(limitsOf('large')!.maxWaiting).toBe(7);
  });

  it('should be all for one model', async () => {
    const alone = setUp(['little']);
    await alone.models.default.engine(keepAlive);
    expect(alone.limitsOf('little')).toEqual({ maxWaiting: 7 });
  });

  it('should be all for one model when no other can be loaded', async () => {
    const { models, store, limitsOf } = setUp();
    store.objects.delete('little/manifest.json');
    await models.default.engine(keepAlive);
    expect(limitsOf('large')!.memoryBytes).toBe(LARGEST_MEMORY_BYTES);
  });
});
