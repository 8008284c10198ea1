/** Storage that fetches what it lacks from an origin: once, verified on the way, the manifest last. */
import { WeightsDamaged, WeightsMissing } from './errors.ts';
import { MANIFEST, type Manifest, readManifestText } from './manifest.ts';
import { type ResumingOptions, resuming } from './resuming.ts';
import type { WeightSource } from './source.ts';
import { modelSource, type WeightStore, type WritableStore } from './store.ts';
import { type WriteOptions, writeVerified } from './write.ts';

interface PullThroughOptions
  extends Pick<WriteOptions, 'partBytes'>,
    Pick<ResumingOptions, 'stallMs' | 'retryDelayMs'> {
  store: WritableStore;
  origin: WeightStore;
  model: string;
  /** Called with what was done. */
  log?: (message: string) => void;
}

/** Open downloads in this isolate, so that all requests for a model wait for the same one. */
const pulls = new WeakMap<WritableStore, Map<string, Promise<boolean>>>();

/**
 * The files of a model in `store`. Missing or damaged ones are fetched from `origin`; then reading them again may
 * succeed.
 */
export function pullThrough(options: PullThroughOptions): WeightSource {
  return {
    ...modelSource(options.store, options.model),
    repair(fault) {
      const underWay = pulls.get(options.store) ?? new Map<string, Promise<boolean>>();
      pulls.set(options.store, underWay);
      let pull = underWay.get(options.model);
      if (pull === undefined) {
        pull = pullModel(options, fault).finally(() => underWay.delete(options.model));
        underWay.set(options.model, pull);
      }
      return pull;
    },
  };
}

/**
 * False if the origin does not have the model either.
 * @throws WeightsDamaged if the origin's files do not match its manifest.
 */
async function pullModel(
  { store, origin, model, log = () => {}, ...options }: PullThroughOptions,
  fault: WeightsMissing | WeightsDamaged,
): Promise<boolean> {
  const read = await readManifestText(modelSource(origin, model), model).catch((error: unknown) => {
    if (error instanceof WeightsMissing) return undefined;
    throw error;
  });
  if (read === undefined) return false;
  const { text, manifest } = read;
  const damaged = fault instanceof WeightsDamaged ? fault.file : undefined;
  // Until the new manifest is written there is no model: a manifest means that all of its files are stored.
  if (damaged !== undefined) await store.delete(`${model}/${MANIFEST}`);
  for (const file of manifest.files) {
    const name = `${model}/${file.path}`;
    const stored = await store.head(name);
    const isThere = stored !== null && (stored.size ?? (await countedSize(store, name))) === file.size;
    if (isThere && file.path !== damaged) continue;
    if (stored !== null) {
      log(`${name} is ${file.path === damaged ? 'damaged' : 'another one'} and is removed`);
      await store.delete(name);
    }
    await pullFile(store, origin, name, file, options);
    log(`${name} was fetched from the origin (${file.size} bytes)`);
  }
  await store.put(`${model}/${MANIFEST}`, new TextEncoder().encode(text));
  return true;
}

async function pullFile(
  store: WritableStore,
  origin: WeightStore,
  name: string,
  file: Manifest['files'][number],
  options: WriteOptions & ResumingOptions,
): Promise<void> {
  const info = await origin.head(name);
  if (info === null) throw new WeightsMissing([file.path]);
  if (info.size !== undefined && info.size !== file.size)
    throw new WeightsDamaged(file.path, `${file.size} bytes`, `${info.size} bytes`);
  const known = { size: file.size, etag: info.etag };
  const chunks = resuming((range) => origin.get(name, range), name, known, options);
  await writeVerified(store, name, file, chunks, options);
}

/** If a store does not report the size of a file. */
async function countedSize(store: WritableStore, name: string): Promise<number | null> {
  const object = await store.get(name);
  if (object === null) return null;
  let bytes = 0;
  for await (const chunk of object.stream) bytes += chunk.byteLength;
  return bytes;
}
