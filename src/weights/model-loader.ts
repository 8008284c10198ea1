/** Makes an engine from stored weights: once for all requests that wait for it, and only from files that verify. */
import { type ModelProvider, type ModelStatus, ModelUnavailable } from '../engine/provider.ts';
import type { CreateEngine, DescribeModel, Engine, EngineLimits, KernelModules, ModelInfo } from '../engine/types.ts';
import type { KeepAlive } from '../http/keep-alive.ts';
import { WeightsDamaged, WeightsMissing } from './errors.ts';
import { CONFIG, fileOf, type Manifest, readManifest, TOKENIZER, WEIGHTS } from './manifest.ts';
import type { WeightSource } from './source.ts';
import { storedModelOf } from './stored-model.ts';
import { openVerified, readVerifiedJson, type VerifiedStream } from './verify.ts';

export interface ModelLoaderOptions {
  model: string;
  source: WeightSource;
  kernels: KernelModules;
  createEngine: CreateEngine;
  describeModel: DescribeModel;
  /** Asked when the model is loaded. */
  limits?: () => EngineLimits | Promise<EngineLimits>;
}

/**
 * A provider that loads its model on first use. Concurrent requests share the load. After a failure the next request
 * loads again, so that the service recovers without a restart when the store is repaired.
 */
export function modelLoader(options: ModelLoaderOptions): ModelProvider {
  let status: ModelStatus = { state: 'not_loaded' };
  let loading: Promise<Engine> | undefined;
  let loaded: Engine | undefined;

  async function load(): Promise<Engine> {
    status = { state: 'loading' };
    try {
      loaded = await repairing(options, () => loadEngine(options));
      status = { state: 'loaded' };
      return loaded;
    } catch (cause) {
      loading = undefined;
      const error = unavailable(options.model, cause);
      status = { state: 'unavailable', error };
      throw error;
    }
  }

  async function describe(): Promise<ModelInfo> {
    try {
      const { config, manifest: _, ...head } = await repairing(options, () => readDescription(options));
      return { ...head, ...options.describeModel(config) };
    } catch (cause) {
      throw unavailable(options.model, cause);
    }
  }

  return {
    id: options.model,
    get status() {
      return status;
    },
    async info(keepAlive: KeepAlive): Promise<ModelInfo> {
      if (loaded !== undefined) return loaded.model;
      const description = describe();
      // Others may wait for what is fetched from an origin meanwhile.
      keepAlive(description);
      return description;
    },
    engine(keepAlive: KeepAlive): Promise<Engine> {
      if (loading === undefined) {
        loading = load();
        keepAlive(loading);
      }
      return loading;
    },
  };
}

/** Tries once more if the source may have repaired the fault. */
async function repairing<T>({ source }: ModelLoaderOptions, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (fault) {
    if (!(fault instanceof WeightsMissing || fault instanceof WeightsDamaged)) throw fault;
    if (!(await source.repair?.(fault))) throw fault;
    return read();
  }
}

/** The description of a model from its files, without reading the weights, which have to exist. */
async function readDescription({ model, source }: ModelLoaderOptions) {
  const manifest = await readManifest(source, model);
  await checkSizes(source, manifest);
  const config = await readVerifiedJson(source, fileOf(manifest, CONFIG));
  return { id: model, created: manifest.created ?? 0, stored: storedModelOf(manifest, config), config, manifest };
}

async function loadEngine(options: ModelLoaderOptions): Promise<Engine> {
  const { source, kernels, createEngine } = options;
  const { config, manifest, ...model } = await readDescription(options);
  const limits = await options.limits?.();
  const tokenizer = await readVerifiedJson(source, fileOf(manifest, TOKENIZER));
  let weights: VerifiedStream | undefined;
  const engine = await createEngine({
    model,
    kernels,
    config,
    tokenizer,
    openWeights: async () => {
      weights = await openVerified(source, fileOf(manifest, WEIGHTS));
      return weights.stream;
    },
    ...(limits && { limits }),
  });
  if (!weights?.isVerified()) throw new Error('the engine was made without reading the weights to their end');
  return engine;
}

/** Names all missing files at once, and a wrong size before any file is read. */
async function checkSizes(source: WeightSource, manifest: Manifest): Promise<void> {
  const sizes = await Promise.all(manifest.files.map(({ path }) => source.size(path)));
  const missing = manifest.files.filter((_, index) => sizes[index] === null);
  if (missing.length > 0) throw new WeightsMissing(missing.map(({ path }) => path));
  for (const [index, { path, size }] of manifest.files.entries()) {
    // If the source does not send a size, it is counted while the file is read.
    if (sizes[index] !== undefined && sizes[index] !== size)
      throw new WeightsDamaged(path, `${size} bytes`, `${sizes[index]} bytes`);
  }
}

/** What clients see if weights cannot be used. */
export function unavailable(model: string, cause: unknown): ModelUnavailable {
  if (cause instanceof WeightsMissing) return new ModelUnavailable(model, 'missing', cause.files, { cause });
  if (cause instanceof WeightsDamaged) return new ModelUnavailable(model, 'damaged', [cause.file], { cause });
  return new ModelUnavailable(model, 'failed', [], { cause });
}
