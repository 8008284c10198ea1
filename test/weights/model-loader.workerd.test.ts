import { env } from 'cloudflare:workers';
import { createHash } from 'node:crypto';
import { beforeEach, describe, expect, it } from 'vitest';
import { describeModel } from '../../src/engine/create.ts';
import { ModelUnavailable } from '../../src/engine/provider.ts';
import type { EngineParts } from '../../src/engine/types.ts';
import { WeightsDamaged, WeightsMissing } from '../../src/weights/errors.ts';
import { modelLoader } from '../../src/weights/model-loader.ts';
import { r2Store } from '../../src/weights/r2-store.ts';
import { modelSource } from '../../src/weights/store.ts';
import { scriptedEngine } from '../support/scripted-engine.ts';

const bucket = env.WEIGHTS;
const MODEL = 'test-model';

/** Several chunks of a stream, so that an error at the end comes after bytes were handed on. */
const weights = Uint8Array.from({ length: 200_000 }, (_, index) => (index * 31) % 251);
const files: Record<string, Uint8Array> = {
  'config.json': new TextEncoder().encode('{"model_type":"quicksilver"}'),
  'tokenizer.json': new TextEncoder().encode('{"version":"1.0"}'),
  'model.safetensors': weights,
};

const kernels = {} as EngineParts['kernels'];
const keepAlive = () => {};

async function store(contents: Record<string, Uint8Array | string>): Promise<void> {
  for (const [file, content] of Object.entries(contents)) await bucket.put(`${MODEL}/${file}`, content);
}

function manifestOf(contents: Record<string, Uint8Array>, name = MODEL): string {
  const entries = Object.entries(contents).map(([path, content]) => ({
    path,
    size: content.byteLength,
    sha256: createHash('sha256').update(content).digest('hex'),
  }));
  return JSON.stringify({ name, created: 1_700_000_000, files: entries });
}

/** A loader whose engine reads all of its parts and keeps what it read. */
function setUp() {
  const made: { parts: EngineParts; weights: Uint8Array }[] = [];
  const provider = modelLoader({
    model: MODEL,
    source: modelSource(r2Store(bucket), MODEL),
    kernels,
    describeModel,
    createEngine: async (parts) => {
      const bytes = new Uint8Array(await new Response(await parts.openWeights()).arrayBuffer());
      made.push({ parts, weights: bytes });
      return scriptedEngine();
    },
  });
  return { made, provider };
}

async function failureOf(promise: Promise<unknown>): Promise<ModelUnavailable> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(ModelUnavailable);
  return error as ModelUnavailable;
}

beforeEach(async () => {
  const { objects } = await bucket.list();
  await bucket.delete(objects.map(({ key }) => key));
});

describe('a model in the bucket', () => {
  it('should become an engine made of the very bytes that were stored', async () => {
    await store({ ...files, 'manifest.json': manifestOf(files) });
    const { made, provider } = setUp();
    await provider.engine(keepAlive);
    expect(made).toHaveLength(1);
    expect(made[0]?.parts).toMatchObject({
      model: {
        id: MODEL,
        created: 1_700_000_000,
        stored: { digest: createHash('sha256').update(weights).digest('hex'), languages: [] },
      },
      config: { model_type: 'quicksilver' },
      tokenizer: { version: '1.0' },
    });
    expect(made[0]?.weights).toEqual(weights);
  });

  it('should be loaded once for requests that come together, and stay loaded', async () => {
    await store({ ...files, 'manifest.json': manifestOf(files) });
    const { made, provider } = setUp();
    const engines = await Promise.all([1, 2, 3].map(() => provider.engine(keepAlive)));
    engines.push(await provider.engine(keepAlive));
    expect(made).toHaveLength(1);
    expect(new Set(engines).size).toBe(1);
  });

  it('should keep the request that loads it alive until it is loaded', async () => {
    await store({ ...files, 'manifest.json': manifestOf(files) });
    const { provider } = setUp();
    const kept: Promise<unknown>[] = [];
    const engine = await provider.engine((work) => kept.push(work));
    expect(await Promise.all(kept)).toEqual([engine]);
  });
});

describe('weights that are missing', () => {
  it('should be named: the manifest', async () => {
    await store(files);
    const error = await failureOf(setUp().provider.engine(keepAlive));
    expect(error).toMatchObject({ reason: 'missing', files: ['manifest.json'] });
    expect(error.cause).toBeInstanceOf(WeightsMissing);
  });

  it('should be named all at once', async () => {
    await store({ 'tokenizer.json': files['tokenizer.json']!, 'manifest.json': manifestOf(files) });
    const { made, provider } = setUp();
    const error = await failureOf(provider.engine(keepAlive));
    expect(error).toMatchObject({ reason: 'missing', files: ['config.json', 'model.safetensors'] });
    expect(made).toEqual([]);
  });

  it('should fail together for requests that come together', async () => {
    const { provider } = setUp();
    const errors = await Promise.all([1, 2].map(() => failureOf(provider.engine(keepAlive))));
    expect(errors[0]).toBe(errors[1]);
  });
});

describe('weights that are damaged', () => {
  const oneByteOff = weights.slice();
  oneByteOff[weights.length - 1]! ^= 1;

  it.each([
    ['one byte differs', { 'model.safetensors': oneByteOff }],
    ['the file is truncated', { 'model.safetensors': weights.subarray(0, 100_000) }],
    ['the file is too long', { 'model.safetensors': new Uint8Array([...weights, 0]) }],
    ['the file is empty', { 'model.safetensors': new Uint8Array() }],
  ])('should never become an engine when %s', async (_, damage) => {
    await store({ ...files, ...damage, 'manifest.json': manifestOf(files) });
    const { made, provider } = setUp();
    const error = await failureOf(provider.engine(keepAlive));
    expect(error).toMatchObject({ reason: 'damaged', files: ['model.safetensors'] });
    expect(made).toEqual([]);
  });

  it('should say what was expected and what was found', async () => {
    await store({ ...files, 'model.safetensors': oneByteOff, 'manifest.json': manifestOf(files) });
    const { cause } = await failureOf(setUp().provider.engine(keepAlive));
    const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
    expect(cause).toBeInstanceOf(WeightsDamaged);
    expect(cause).toMatchObject({ expected: `SHA-256 ${sha256(weights)}`, actual: sha256(oneByteOff) });
  });

  it('should be refused in the tokenizer as well', async () => {
    const tokenizer = new TextEncoder().encode('{"version":"1.1"}');
    await store({ ...files, 'tokenizer.json': tokenizer, 'manifest.json': manifestOf(files) });
    const error = await failureOf(setUp().provider.engine(keepAlive));
    expect(error).toMatchObject({ reason: 'damaged', files: ['tokenizer.json'] });
  });

  it.each([
    ['is not JSON', 'oops'],
    ['is not a manifest', '{"files": 5}'],
    ['is of another model', manifestOf(files, 'another')],
    ['leaves the tokenizer out', manifestOf({ 'config.json': files['config.json']!, 'model.safetensors': weights })],
  ])('should be refused when the manifest %s', async (_, manifest) => {
    await store({ ...files, 'manifest.json': manifest });
    const error = await failureOf(setUp().provider.engine(keepAlive));
    expect(error).toMatchObject({ reason: 'damaged', files: ['manifest.json'] });
  });

  it('should not become an engine that did not read them to the end', async () => {
    await store({ ...files, 'model.safetensors': oneByteOff, 'manifest.json': manifestOf(files) });
    const provider = modelLoader({
      model: MODEL,
      source: modelSource(r2Store(bucket), MODEL),
      kernels,
      describeModel,
      createEngine: async (parts) => {
        await (await parts.openWeights()).cancel();
        return scriptedEngine();
      },
    });
    expect(await failureOf(provider.engine(keepAlive))).toMatchObject({ reason: 'failed', files: [] });
  });
});

it('should answer again once the bucket is put right, without a restart', async () => {
  await store({ ...files, 'model.safetensors': weights.subarray(1), 'manifest.json': manifestOf(files) });
  const { made, provider } = setUp();
  expect(await failureOf(provider.engine(keepAlive))).toMatchObject({ reason: 'damaged' });
  await store({ 'model.safetensors': weights });
  await provider.engine(keepAlive);
  expect(made).toHaveLength(1);
});
