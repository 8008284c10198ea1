/** Puts the models of this repository into the R2 bucket that the local runtime keeps on disk. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { getPlatformProxy } from 'wrangler';
import { MANIFEST, parseManifest } from '../src/weights/manifest.ts';
import { STATE_VERSION } from './wrangler.ts';

/** The part of an R2 bucket that is used here. */
interface WritableBucket {
  head(key: string): Promise<unknown>;
  put(key: string, value: Uint8Array | string): Promise<unknown>;
}

/**
 * Stores every model folder that has a manifest. The manifest is stored last, so that an incomplete copy is not a
 * model.
 * @returns the names of the models stored, and whether the bucket has `model`, from this call or an earlier one.
 */
export async function storeModels(
  modelsFolder: string,
  stateFolder: string,
  configPath: string,
  model: string,
): Promise<{ models: string[]; hasModel: boolean }> {
  const { env, dispose } = await getPlatformProxy<{ WEIGHTS: WritableBucket }>({
    configPath,
    persist: { path: join(stateFolder, STATE_VERSION) },
    remoteBindings: false,
  });
  try {
    const stored: string[] = [];
    for (const entry of await readdir(modelsFolder, { withFileTypes: true })) {
      if (entry.isDirectory() && (await storeModel(env.WEIGHTS, modelsFolder, entry.name))) stored.push(entry.name);
    }
    return { models: stored, hasModel: (await env.WEIGHTS.head(`${model}/${MANIFEST}`)) !== null };
  } finally {
    await dispose();
  }
}

async function storeModel(bucket: WritableBucket, modelsFolder: string, model: string): Promise<boolean> {
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
  await bucket.put(`${model}/${MANIFEST}`, manifest);
  return true;
}
