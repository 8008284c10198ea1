/**
 * Limits the body of a request, also of one without a length. A body that is too long is read and discarded for a while
 * before it is refused: if a server closes while the client, or a proxy, still writes, its answer is lost (RFC 9112,
 * section 9.6, https://www.rfc-editor.org/rfc/rfc9112#section-9.6).
 */
import type { Context, Next } from 'hono';
import { ApiError } from '../http/errors.ts';

/** Beyond any file that an editor sends by mistake; a client that sends more may miss its answer. */
const MAX_DISCARDED_BYTES = 32 * 2 ** 20;

/**
 * A client that sends nothing for this time waits for the answer. The time limit applies to clients that send slowly.
 */
const MAX_SILENCE_MS = 1_000;

interface BodyLimitOptions {
  maxBytes: number;
}

type Reader = ReadableStreamDefaultReader<Uint8Array>;

/**
 * Throws ApiError 413 for a longer body; a shorter one has been read when `next` is called, unless its length was
 * known.
 */
export function bodyLimit({ maxBytes }: BodyLimitOptions) {
  return async function bodyLimit(c: Context, next: Next): Promise<void> {
    const { body } = c.req.raw;
    const announced = announcedBytes(c);
    // The runtime reads no more than the declared length.
    if (body === null || (announced !== undefined && announced <= maxBytes)) return next();
    const reader: Reader = body.getReader();
    const read = announced === undefined ? await readUpTo(maxBytes, reader) : undefined;
    if (read === undefined) {
      await discard(reader);
      throw new ApiError(413, `The body is larger than ${maxBytes} bytes.`, { code: 'request_too_large' });
    }
    c.req.raw = new Request(c.req.raw, { body: read });
    return next();
  };
}

function announcedBytes(c: Context): number | undefined {
  if (c.req.header('transfer-encoding') !== undefined) return undefined;
  const length = c.req.header('content-length');
  return length === undefined ? undefined : Number.parseInt(length, 10);
}

/** The whole body; undefined when it is longer. */
async function readUpTo(maxBytes: number, reader: Reader): Promise<Blob | undefined> {
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let size = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return new Blob(parts);
    size += value.length;
    if (size > maxBytes) return undefined;
    parts.push(value as Uint8Array<ArrayBuffer>);
  }
}

/** Reads to the end, or up to a limit. Never rejects: the client may have disconnected. */
async function discard(reader: Reader): Promise<void> {
  try {
    for (let size = 0; size < MAX_DISCARDED_BYTES; ) {
      const part = await unlessSilent(reader.read());
      if (part === undefined || part.done) break;
      size += part.value.length;
    }
    void reader.cancel().catch(() => {});
  } catch {
    // The client has disconnected and needs no answer.
  }
}

/** Undefined if nothing arrives in time. */
async function unlessSilent<T>(read: Promise<T>): Promise<T | undefined> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const silence = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), MAX_SILENCE_MS);
  });
  try {
    return await Promise.race([read, silence]);
  } finally {
    clearTimeout(timer);
  }
}
