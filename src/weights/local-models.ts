/**
 * The models of one service: each is loaded when it is first asked for and stays, and together they fit the memory of
 * one isolate.
 */
import { LARGEST_MEMORY_BYTES } from '../denoiser/three-stream/memory.ts';
import { ModelCatalog } from '../engine/catalog.ts';
import { type ModelProvider, ModelUnavailable } from '../engine/provider.ts';
import type { EngineLimits } from '../engine/types.ts';
import { type ModelLoaderOptions, modelLoader } from './model-loader.ts';
import type { WeightSource } from './source.ts';

/**
 * What a model beside the largest has for keys, values and scratch: `nano` nine full contexts, and any model at least
 * one.
 */
const CONTEXT_BYTES = 8 * 2 ** 20;

export interface LocalModelsOptions extends Pick<ModelLoaderOptions, 'kernels' | 'createEngine' | 'describeModel'> {
  /** Folders in the store; the first is the default. */
  names: readonly string[];
  source(model: string): WeightSource;
  limits: EngineLimits;
}

/** Makes a loader for each model. Nothing is read yet. */
export function localModels({ names, source, limits, ...parts }: LocalModelsOptions): ModelCatalog {
  const models: ModelProvider[] = names.map((model, index) =>
    modelLoader({
      ...parts,
      model,
      source: source(model),
      limits: async () => (names.length === 1 ? limits : { ...limits, memoryBytes: await memoryOf(index) }),
    }),
  );

  /**
   * Independent of the order of loading: the largest model has the memory of an isolate that the others, loaded or not,
   * leave.
   */
  async function memoryOf(index: number): Promise<number> {
    const needs = await Promise.all(models.map(leastMemoryOf));
    if (index !== needs.indexOf(Math.max(...needs))) return needs[index]!;
    return LARGEST_MEMORY_BYTES - needs.reduce((sum, bytes, other) => (other === index ? sum : sum + bytes), 0);
  }

  return new ModelCatalog(models);
}

/** 0 for one that cannot be loaded as it is. */
async function leastMemoryOf(model: ModelProvider): Promise<number> {
  try {
    const { stored } = await model.info(() => {});
    return (stored?.size ?? 0) + CONTEXT_BYTES;
  } catch (error) {
    if (error instanceof ModelUnavailable) return 0;
    throw error;
  }
}
