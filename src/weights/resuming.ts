/**
 * Reads an object to its end across broken connections: the rest is requested again, from where the last answer ended.
 */
import { StoreFailed } from './errors.ts';
import type { ByteRange, StoredInfo, WeightStore } from './store.ts';

/** Broken connections in a row without a byte between them after which the download fails. */
const MAX_CUTS = 5;

/** A connection that sends nothing for this time counts as broken. */
export const STALL_MS = 30_000;

export interface ResumingOptions {
  /** Offset of the first byte that is wanted. */
  offset?: number;
  stallMs?: number;
  /** Milliseconds before the first repetition; doubles with each one. */
  retryDelayMs?: number;
}

/**
 * The chunks of an object from `offset` on. Errors of `get` are passed on: it retries on its own where that helps.
 * @throws StoreFailed if the connection breaks again and again, or if the object has changed after a break.
 */
export async function* resuming(
  get: (range: ByteRange | undefined) => ReturnType<WeightStore['get']>,
  name: string,
  { size, etag }: StoredInfo & { size: number },
  { offset = 0, stallMs = STALL_MS, retryDelayMs = 200 }: ResumingOptions = {},
): AsyncGenerator<Uint8Array> {
  let position = offset;
  let cuts = 0;
  while (position < size) {
    const object = await get(position > 0 ? { offset: position } : undefined);
    if (object === null) throw new StoreFailed(name, 'is gone', { status: 404 });
    const isOfSize = object.size === undefined || object.size === size;
    if (!isOfSize || (etag !== '' && object.etag !== '' && object.etag !== etag)) {
      await object.stream.cancel();
      throw new StoreFailed(name, 'was replaced while it was read', { status: 409 });
    }
    try {
      for await (const chunk of unstalled(object.stream, stallMs)) {
        if (position + chunk.byteLength > size)
          throw new StoreFailed(name, 'sends more than its size', { status: 409 });
        position += chunk.byteLength;
        cuts = 0;
        yield chunk;
      }
      if (position < size) throw new StoreFailed(name, `broke off at byte ${position} of ${size}`);
    } catch (error) {
      if (error instanceof StoreFailed && !error.isPassing) throw error;
      if (++cuts > MAX_CUTS) throw new StoreFailed(name, `broke off at byte ${position} of ${size}`, { cause: error });
      await new Promise((resolve) => setTimeout(resolve, retryDelayMs * 2 ** (cuts - 1)));
    }
  }
}

async function* unstalled(stream: ReadableStream<Uint8Array>, stallMs: number): AsyncGenerator<Uint8Array> {
  const reader = stream.getReader();
  try {
    for (;;) {
      let timer: ReturnType<typeof setTimeout> | undefined;
      const stalled = new Promise<never>((_, reject) => {
        timer = setTimeout(() => reject(new Error(`nothing came for ${stallMs} ms`)), stallMs);
      });
      const { done, value } = await Promise.race([reader.read(), stalled]).finally(() => clearTimeout(timer));
      if (done) return;
      yield value;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
