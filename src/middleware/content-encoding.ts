/**
 * Compressed bodies (RFC 9110, section 8.4.1, https://www.rfc-editor.org/rfc/rfc9110#section-8.4.1): decompressed
 * within the same limit as other bodies, whatever length they declare, or refused with an error that names the reason.
 */
import type { Context, Next } from 'hono';
import { ApiError } from '../http/errors.ts';

/** What the platforms of this service decompress; `deflate` is the zlib format. */
const FORMATS: Readonly<Record<string, CompressionFormat>> = { gzip: 'gzip', 'x-gzip': 'gzip', deflate: 'deflate' };

/**
 * Compressed bytes that are passed on at once. A byte becomes at most a thousand, and a runtime may decompress all of
 * its input before any output is read: with small parts it never holds much more than the limit.
 */
const PART_BYTES = 512;

interface ContentEncodingOptions {
  maxBytes: number;
}

/**
 * Decompresses the body. To be used after `bodyLimit`, which limits the bytes that are read.
 * @throws ApiError 413 for a body that becomes larger than the limit, 415 for another encoding, 400 for one that is
 *   damaged.
 */
export function contentEncoding({ maxBytes }: ContentEncodingOptions) {
  return async function contentEncoding(c: Context, next: Next): Promise<void> {
    const encoding = (c.req.header('content-encoding') ?? '').trim().toLowerCase();
    if (encoding === '' || encoding === 'identity' || c.req.raw.body === null) return next();
    const format = Object.hasOwn(FORMATS, encoding) ? FORMATS[encoding] : undefined;
    if (format === undefined) {
      throw new ApiError(415, `Send the body as it is, or as gzip or deflate, not as ${encoding}.`, {
        code: 'unsupported_media_type',
        headers: { 'accept-encoding': 'gzip, deflate, identity' },
      });
    }
    const compressed = new Uint8Array(await c.req.raw.arrayBuffer());
    const body = await decompressed(compressed, format, maxBytes);
    const headers = new Headers(c.req.raw.headers);
    headers.delete('content-encoding');
    headers.delete('content-length');
    c.req.raw = new Request(c.req.raw, { headers, body });
    return next();
  };
}

async function decompressed(
  bytes: Uint8Array<ArrayBuffer>,
  format: CompressionFormat,
  maxBytes: number,
): Promise<Blob> {
  const stream = new DecompressionStream(format);
  const writer = stream.writable.getWriter();
  const reader: ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>> = stream.readable.getReader();
  let isOver = false;

  async function write(): Promise<void> {
    for (let at = 0; at < bytes.length && !isOver; at += PART_BYTES) {
      await writer.write(bytes.subarray(at, at + PART_BYTES));
    }
    if (!isOver) await writer.close();
  }

  async function read(): Promise<Blob> {
    const parts: Uint8Array<ArrayBuffer>[] = [];
    for (let size = 0; ; ) {
      const { done, value } = await reader.read();
      if (done) return new Blob(parts);
      size += value.length;
      isOver = size > maxBytes;
      if (isOver) throw new ApiError(413, `The body is larger than ${maxBytes} bytes.`, { code: 'request_too_large' });
      parts.push(value);
    }
  }

  // An error of writing also appears in reading.
  void write().catch(() => {});
  try {
    return await read();
  } catch (error) {
    isOver = true; // ends the writing
    void reader.cancel().catch(() => {});
    if (error instanceof ApiError) throw error;
    throw new ApiError(400, `The body is not what its content-encoding says: ${format}.`, { code: 'invalid_encoding' });
  }
}
