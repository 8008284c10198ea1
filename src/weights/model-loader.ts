/** Makes an engine from stored weights: once for all requests that wait for it, and only from files that verify. */
import { type ModelProvider, ModelUnavailable } from '../engine/provider.ts';
import type { CreateEngine, Engine, EngineLimits, KernelModules } from '../engine/types.ts';
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
  limits?: EngineLimits;
}

/**
 * A provider that loads its model on first use. Concurrent requests share the load. After a failure the next request
 * loads again, so that the service recovers without a restart when the store is repaired.
 */
export function modelLoader(options: ModelLoaderOptions): ModelProvider {
  let loading: Promise<Engine> | undefined;

  async function load(): Promise<Engine> {
    try {
      return await loadEngine(options).catch((error: unknown) => repairAndLoad(options, error));
    } catch (error) {
      loading = undefined;
      throw unavailable(options.model, error);
    }
  }

  return {
    id: options.model,
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
async function repairAndLoad(options: ModelLoaderOptions, fault: unknown): Promise<Engine> {
  if (!(fault instanceof WeightsMissing || fault instanceof WeightsDamaged)) throw fault;
  if (!(await options.source.repair?.(fault))) throw fault;
  return loadEngine(options);
}

async function loadEngine({ model, source, kernels, createEngine, limits }: ModelLoaderOptions): Promise<Engine> {
  const manifest = await readManifest(source, model);
  await checkSizes(source, manifest);
  const config = await readVerifiedJson(source, fileOf(manifest, CONFIG));
  const tokenizer = await readVerifiedJson(source, fileOf(manifest, TOKENIZER));
  let weights: VerifiedStream | undefined;
  const engine = await createEngine({
    model: { id: model, created: manifest.created ?? 0, stored: storedModelOf(manifest, config) },
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
