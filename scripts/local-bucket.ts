/** Puts the models of this repository into the R2 bucket that the local runtime keeps on disk. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { getPlatformProxy } from 'wrangler';
import type { StoredModel } from '../src/engine/types.ts';
import { WeightsDamaged, WeightsMissing } from '../src/weights/errors.ts';
import { CONFIG, fileOf, MANIFEST, parseManifest, readManifest } from '../src/weights/manifest.ts';
import { type Bucket, r2Store } from '../src/weights/r2-store.ts';
import type { WeightSource } from '../src/weights/source.ts';
import { modelSource } from '../src/weights/store.ts';
import { storedModelOf } from '../src/weights/stored-model.ts';
import { readVerifiedJson } from '../src/weights/verify.ts';
import { STATE_VERSION } from './wrangler.ts';

/**
 * Stores every model folder that has a manifest. The manifest is stored last, so that an incomplete copy is not a
 * model.
 * @returns the names of the models stored, and what the bucket has of `served`, from this call or an earlier one.
 */
export async function storeModels(
  modelsFolder: string,
  stateFolder: string,
  configPath: string,
  served: readonly string[],
): Promise<{ models: string[]; found: Map<string, StoredModel | WeightsDamaged> }> {
  const { env, dispose } = await getPlatformProxy<{ WEIGHTS: Bucket }>({
    configPath,
    persist: { path: join(stateFolder, STATE_VERSION) },
    remoteBindings: false,
  });
  try {
    const stored: string[] = [];
    for (const entry of await readdir(modelsFolder, { withFileTypes: true })) {
      if (entry.isDirectory() && (await storeModel(env.WEIGHTS, modelsFolder, entry.name))) stored.push(entry.name);
    }
    const found = new Map<string, StoredModel | WeightsDamaged>();
    for (const model of served) {
      const description = await describe(modelSource(r2Store(env.WEIGHTS), model), model);
      if (description !== undefined) found.set(model, description);
    }
    return { models: stored, found };
  } finally {
    await dispose();
  }
}

/** Undefined when there is no such model. */
async function describe(source: WeightSource, model: string): Promise<StoredModel | WeightsDamaged | undefined> {
  try {
    const manifest = await readManifest(source, model);
    return storedModelOf(manifest, await readVerifiedJson(source, fileOf(manifest, CONFIG)));
  } catch (error) {
    if (error instanceof WeightsDamaged) return error;
    if (error instanceof WeightsMissing) return undefined;
    throw error;
  }
}

async function storeModel(bucket: Bucket, modelsFolder: string, model: string): Promise<boolean> {
  const folder = join(modelsFolder, model);
  let manifest: string;
  try {
    manifest = await readFile(join(folder, MANIFEST), 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
  for (const { path } of parseManifest(manifest).files) {
    await bucket.put(`${model}/${path}`, await readFile(join(folder, path)));
  }
  await bucket.put(`${model}/${MANIFEST}`, new TextEncoder().encode(manifest));
  return true;
}
