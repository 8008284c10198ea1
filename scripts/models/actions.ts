/** Actions on the models of a store: push, list, verify. */
import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { WeightsDamaged, WeightsMissing } from '../../src/weights/errors.ts';
import { MANIFEST, type Manifest, parseManifest, readManifest } from '../../src/weights/manifest.ts';
import { modelSource, type WritableStore } from '../../src/weights/store.ts';
import { openVerified } from '../../src/weights/verify.ts';
import { type WriteOptions, writeVerified } from '../../src/weights/write.ts';
import { bytesText, progressOf, type Screen } from './progress.ts';

/**
 * Uploads the files of a model folder to the store and verifies them; the manifest is last. A file that the store
 * already has, with the same hash in the manifest there, is not sent again.
 * @throws WeightsDamaged when a file does not match the manifest of the folder.
 */
export async function push(
  store: WritableStore,
  folder: string,
  screen: Screen,
  { force = false, ...options }: { force?: boolean } & Pick<WriteOptions, 'partBytes'> = {},
): Promise<void> {
  const text = await readFile(join(folder, MANIFEST), 'utf8');
  const manifest = parseManifest(text);
  const { name: model } = manifest;
  const stored = force ? undefined : await storedManifest(store, model);
  for (const file of manifest.files) {
    const name = `${model}/${file.path}`;
    const progress = progressOf(name, file.size, screen);
    const known = stored?.files.find(({ path }) => path === file.path);
    if (known?.sha256 === file.sha256 && (await store.head(name))?.size === file.size) {
      progress.end('is there');
      continue;
    }
    const onProgress = (bytes: number) => progress.at(bytes);
    await writeVerified(store, name, file, createReadStream(join(folder, file.path)), { ...options, onProgress });
    progress.end('stored');
  }
  await store.put(`${model}/${MANIFEST}`, new TextEncoder().encode(text));
}

async function storedManifest(store: WritableStore, model: string): Promise<Manifest | undefined> {
  try {
    return await readManifest(modelSource(store, model), model);
  } catch (error) {
    if (error instanceof WeightsMissing || error instanceof WeightsDamaged) return undefined;
    throw error;
  }
}

export interface ModelState {
  model: string;
  bytes: number;
  /** Its problems, found only by file sizes. */
  problems: string[];
}

/** The models of the store, and the size of `hf/`, where the mirror keeps its files. */
export async function list(store: WritableStore): Promise<{ models: ModelState[]; mirroredBytes: number }> {
  const objects = await store.list('');
  const sizes = new Map(objects.map(({ name, size }) => [name, size]));
  const names = objects.filter(({ name }) => name.endsWith(`/${MANIFEST}`) && !name.startsWith('hf/'));
  const models = names.map(async ({ name }): Promise<ModelState> => {
    const model = name.slice(0, -MANIFEST.length - 1);
    const bytes = objects
      .filter(({ name }) => name.startsWith(`${model}/`))
      .reduce((sum, { size = 0 }) => sum + size, 0);
    try {
      const { files } = await readManifest(modelSource(store, model), model);
      const problems = files.flatMap(({ path, size }) => {
        const name = `${model}/${path}`;
        if (!sizes.has(name)) return [`${path} is missing`];
        // If the list has no sizes, `verify` counts the bytes.
        const found = sizes.get(name) ?? size;
        return found === size ? [] : [`${path} has ${found} bytes instead of ${size}`];
      });
      return { model, bytes, problems };
    } catch (error) {
      if (!(error instanceof WeightsDamaged)) throw error;
      return { model, bytes, problems: [error.message] };
    }
  });
  const mirrored = objects.filter(({ name }) => name.startsWith('hf/'));
  return { models: await Promise.all(models), mirroredBytes: mirrored.reduce((sum, { size = 0 }) => sum + size, 0) };
}

/** The output lines of `list`. */
export function listLines({ models, mirroredBytes }: Awaited<ReturnType<typeof list>>): string[] {
  const lines = models.map(
    ({ model, bytes, problems }) =>
      `${model}  ${bytesText(bytes)}  ${problems.length > 0 ? problems.join('; ') : 'complete'}`,
  );
  if (models.length === 0) lines.push('no models');
  if (mirroredBytes > 0) lines.push(`mirrored from a hub  ${bytesText(mirroredBytes)}`);
  return lines;
}

/**
 * Reads every file of a model in the store and compares it with the manifest.
 * @returns the names of files that are missing or damaged.
 */
export async function verify(store: WritableStore, model: string, screen: Screen): Promise<string[]> {
  const source = modelSource(store, model);
  const { files } = await readManifest(source, model);
  const wrong: string[] = [];
  for (const file of files) {
    const name = `${model}/${file.path}`;
    const progress = progressOf(name, file.size, screen);
    let bytes = 0;
    try {
      const { stream } = await openVerified(source, file);
      for await (const chunk of stream) {
        bytes += chunk.byteLength;
        progress.at(bytes);
      }
      progress.end('is right');
    } catch (error) {
      if (!(error instanceof WeightsDamaged || error instanceof WeightsMissing)) throw error;
      progress.end(error.message);
      wrong.push(name);
    }
  }
  return wrong;
}
