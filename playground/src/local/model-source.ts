/**
 * The files of a model over HTTP, cached in the browser's Cache Storage by their SHA-256. The loader of the service
 * verifies a cached file every time it reads it.
 */
import { WeightsMissing } from '../../../src/weights/errors.ts';
import { MANIFEST, type Manifest, parseManifest } from '../../../src/weights/manifest.ts';
import type { WeightSource } from '../../../src/weights/source.ts';
import type { LoadOptions } from './messages.ts';

const CACHE = 'quicksilver-weights';

/** The service refused a file. */
export class FileRefused extends Error {
  override readonly name = 'FileRefused';
  readonly status: number;
  readonly body: unknown;

  constructor(file: string, status: number, body: unknown) {
    super(`${file}: status ${status}`);
    this.status = status;
    this.body = body;
  }
}

export interface Progress {
  loadedBytes: number;
  totalBytes: number;
  /** All files came from the cache. */
  fromCache: boolean;
}

/**
 * Rejects with FileRefused, with TypeError without a network and a cached manifest, with WeightsDamaged for an invalid
 * one.
 */
export async function httpSource(
  options: LoadOptions,
  onProgress: (progress: Progress) => void,
): Promise<WeightSource> {
  const cache = await openCache();
  const manifest = await fetchManifest(options, cache);
  const totalBytes = manifest.files.reduce((sum, { size }) => sum + size, 0);
  const progress = { loadedBytes: 0, totalBytes, fromCache: true };
  const entryOf = (file: string) => manifest.files.find(({ path }) => path === file);
  /** By content: the files of a replaced model have other keys, even with the same names. */
  const keyOf = (sha256: string) => `/weights/${sha256}`;

  async function stream(file: string, sha256: string): Promise<ReadableStream<Uint8Array> | null> {
    const kept = await cache?.match(keyOf(sha256));
    if (kept?.body) return kept.body;
    const response = await fetchFile(options, file);
    if (response.body === null) return null;
    progress.fromCache = false;
    if (cache === undefined) return response.body;
    const [used, stored] = response.body.tee();
    // A file that cannot be cached, because of a full storage or an incomplete download, is fetched again next time.
    cache.put(keyOf(sha256), new Response(stored)).catch(() => {});
    return used;
  }

  return {
    size: async (file) => (file === MANIFEST ? null : (entryOf(file)?.size ?? null)),
    async open(file) {
      if (file === MANIFEST) return new Response(JSON.stringify(manifest)).body;
      const entry = entryOf(file);
      const body = entry && (await stream(file, entry.sha256));
      return body?.pipeThrough(counting(progress, onProgress)) ?? null;
    },
    async repair(fault) {
      if (fault instanceof WeightsMissing || cache === undefined) return false;
      // One damaged file puts all cached ones in doubt: delete them, and fetch from the service once more.
      const deleted = await Promise.all(manifest.files.map(({ sha256 }) => cache.delete(keyOf(sha256))));
      progress.loadedBytes = 0;
      return deleted.includes(true);
    },
  };
}

/** Undefined if the browser has none, as in some private windows. */
async function openCache(): Promise<Cache | undefined> {
  return typeof caches === 'undefined' ? undefined : caches.open(CACHE).catch(() => undefined);
}

/** The manifest of the service, or else the cached one. */
async function fetchManifest(options: LoadOptions, cache: Cache | undefined): Promise<Manifest> {
  const key = `/manifests/${encodeURIComponent(options.model)}`;
  let response: Response;
  try {
    response = await fetchFile(options, MANIFEST);
  } catch (error) {
    const kept = error instanceof TypeError ? await cache?.match(key) : undefined;
    if (kept === undefined) throw error;
    return parseManifest(await kept.text());
  }
  const text = await response.text();
  const manifest = parseManifest(text);
  await cache?.put(key, new Response(text)).catch(() => {});
  return manifest;
}

async function fetchFile({ baseUrl, key, model }: LoadOptions, file: string): Promise<Response> {
  const response = await fetch(`${baseUrl}/models/${encodeURIComponent(model)}/${file}`, {
    headers: key === '' ? {} : { authorization: `Bearer ${key}` },
    credentials: 'omit',
    referrerPolicy: 'no-referrer',
  });
  if (!response.ok) throw new FileRefused(file, response.status, await response.json().catch(() => ({})));
  return response;
}

function counting(progress: Progress, onProgress: (progress: Progress) => void) {
  return new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      progress.loadedBytes += chunk.byteLength;
      onProgress({ ...progress });
      controller.enqueue(chunk);
    },
  });
}
