/**
 * The Cache API in front of a store, where the platform has one:
 * https://developers.cloudflare.com/workers/runtime-apis/cache/ Files are cached by their SHA-256, so no entry becomes
 * outdated; they are verified when they are stored and again when they are read.
 */
import { WeightsDamaged } from './errors.ts';
import { type Manifest, readManifest } from './manifest.ts';
import type { WeightSource } from './source.ts';
import { openVerified } from './verify.ts';

/** What is used of a cache. */
export interface WeightCache {
  match(key: string): Promise<Response | undefined>;
  put(key: string, response: Response): Promise<void>;
  delete(key: string): Promise<boolean>;
}

/** The cache keeps no larger object. */
const MAX_CACHED_BYTES = 512 * 2 ** 20;

/** A name that cannot exist as a host; only the worker uses it, and only with the cache. */
const KEY_BASE = 'https://weights.invalid/sha256/';

const HEADERS = { 'cache-control': 'public, max-age=31536000, immutable', 'content-type': 'application/octet-stream' };

/** `source` with its files kept in `cache`, for as long as the cache shows that it keeps anything. */
export function cachedSource(source: WeightSource, cache: WeightCache, model: string): WeightSource {
  let works: Promise<boolean> | undefined;

  return {
    ...source,
    size: (file) => source.size(file),
    async open(file, sha256) {
      if (sha256 === undefined) return source.open(file);
      works ??= keepsThings(cache);
      if (!(await works)) return source.open(file, sha256);
      const key = KEY_BASE + sha256;
      const kept = await cache.match(key);
      if (kept?.body) return kept.body;
      const size = await source.size(file);
      if (size === null || size === undefined || size > MAX_CACHED_BYTES) return source.open(file, sha256);
      // First store, then read: splitting the stream would buffer in memory what the slower reader has not taken.
      const { stream, isVerified } = await openVerified(source, { path: file, size, sha256 });
      const headers = { ...HEADERS, 'content-length': String(size) };
      await cache.put(key, new Response(stream, { headers })).catch(() => {});
      if (isVerified()) return (await cache.match(key))?.body ?? source.open(file, sha256);
      // A cache may keep the beginning of a broken stream. A later read from the store reports what is wrong with it.
      await cache.delete(key);
      return source.open(file, sha256);
    },
    async repair(fault) {
      // What the cache took was right, so if there is a copy, it is the copy that is damaged.
      if (fault instanceof WeightsDamaged && (await forget(fault.file))) return true;
      return (await source.repair?.(fault)) ?? false;
    },
  };

  /** Whether there was a copy. */
  async function forget(file: string): Promise<boolean> {
    const manifest = await readManifest(source, model).catch((): Manifest | undefined => undefined);
    const sha256 = manifest?.files.find(({ path }) => path === file)?.sha256;
    return sha256 !== undefined && (await works) === true && cache.delete(KEY_BASE + sha256);
  }
}

/**
 * On workers.dev the cache accepts everything and stores nothing, and plain workerd has no cache behind the interface.
 */
async function keepsThings(cache: WeightCache): Promise<boolean> {
  const key = `${KEY_BASE}probe`;
  try {
    await cache.put(key, new Response('probe', { headers: { ...HEADERS, 'content-type': 'text/plain' } }));
    const found = await cache.match(key);
    return (await found?.text()) === 'probe';
  } catch {
    return false;
  }
}
