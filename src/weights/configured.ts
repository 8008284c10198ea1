/** Combines what is configured: the store, the origin behind it, the cache in front of it. */
import { SettingsError } from '../settings.ts';
import { cachedSource, type WeightCache } from './cached.ts';
import { httpStore } from './http-store.ts';
import { pullThrough } from './pull-through.ts';
import { s3Store } from './s3-store.ts';
import { readWeightSettings, type WeightVariables } from './settings.ts';
import type { WeightSource } from './source.ts';
import { modelSource, type WeightStore, type WritableStore } from './store.ts';

/** What the platform provides. */
export interface PlatformStore {
  bucket?: WritableStore | undefined;
  /** Read only. */
  folder?: WeightStore | undefined;
}

export interface ConfiguredWeights {
  /**
   * Where files are read: S3 storage if configured, else the platform's bucket, else the origin if configured, else the
   * folder.
   */
  store: WeightStore;
  /** The same, where it can be written to. */
  writable: WritableStore | undefined;
  /** The files of a model: cached, in the store, pulled through from the origin. */
  source(model: string): WeightSource;
}

interface Platform extends PlatformStore {
  cache?: WeightCache | undefined;
  log?: (message: string) => void;
}

/** Throws SettingsError when a variable is wrong, or when there is neither a store nor an origin. */
export function configuredWeights(
  variables: WeightVariables,
  { bucket, folder, cache, log }: Platform = {},
): ConfiguredWeights {
  const { s3, origin: from } = readWeightSettings(variables);
  const writable = s3 ? s3Store(s3) : bucket;
  const origin = from && httpStore(from);
  const store = writable ?? origin ?? folder;
  if (store === undefined) {
    throw new SettingsError('There is no storage of weights: bind WEIGHTS, or set S3_ENDPOINT or WEIGHTS_ORIGIN');
  }
  return {
    store,
    writable,
    source(model) {
      const source =
        writable && origin
          ? pullThrough({ store: writable, origin, model, ...(log && { log }) })
          : modelSource(store, model);
      return cache ? cachedSource(source, cache, model) : source;
    },
  };
}
