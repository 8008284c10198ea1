/** Byte ranges of requests and of answers. https://www.rfc-editor.org/rfc/rfc9110#name-range-requests */
import type { ByteRange } from './store.ts';

/**
 * The range that a `Range` header asks for, of an object of `size` bytes. Undefined when the whole object is to be
 * sent: without a header, and for headers that a server may ignore (several ranges, other units, invalid syntax).
 * `unsatisfiable` when it begins after the end.
 */
export function parseRange(
  header: string | undefined,
  size: number,
): Required<ByteRange> | 'unsatisfiable' | undefined {
  const [, first = '', last = ''] = /^bytes=(\d*)-(\d*)$/.exec(header?.trim() ?? '') ?? [];
  if (first === '' && last === '') return undefined;
  if (first === '') {
    const length = Math.min(Number(last), size);
    return length === 0 ? 'unsatisfiable' : { offset: size - length, length };
  }
  const offset = Number(first);
  const end = last === '' ? size : Math.min(Number(last) + 1, size);
  if (last !== '' && Number(last) < offset) return undefined;
  return offset >= size ? 'unsatisfiable' : { offset, length: end - offset };
}

/** The header that asks for a range. */
export function rangeHeader({ offset, length }: ByteRange): string {
  return `bytes=${offset}-${length === undefined ? '' : offset + length - 1}`;
}

/**
 * Size in bytes of the whole object of an answer. Undefined if the answer does not have it: from a proxy that sends
 * chunks, or compressed, when the length is that of the compressed bytes.
 */
export function toldSize({ status, headers }: Response): number | undefined {
  if (!/^(identity)?$/i.test(headers.get('content-encoding') ?? '')) return undefined;
  const total =
    status === 206 ? /\/(\d+)$/.exec(headers.get('content-range') ?? '')?.[1] : headers.get('content-length');
  return /^\d+$/.test(total ?? '') ? Number(total) : undefined;
}

/** The header for the part of `size` bytes in an answer with status 206. */
export function contentRange({ offset, length }: Required<ByteRange>, size: number): string {
  return `bytes ${offset}-${offset + length - 1}/${size}`;
}

/** The range of a stream, for servers that send all of it. */
export function sliced(stream: ReadableStream<Uint8Array>, { offset, length = Infinity }: ByteRange) {
  const end = offset + length;
  let position = 0;
  return stream.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        const part = chunk.subarray(Math.max(0, offset - position), Math.max(0, end - position));
        position += chunk.byteLength;
        if (part.byteLength > 0) controller.enqueue(part);
        if (position >= end) controller.terminate();
      },
    }),
  );
}
