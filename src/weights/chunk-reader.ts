/**
 * Reads a stream of bytes in large pieces. The Workers runtime hands out 4 KiB at a time unless it is given a buffer to
 * fill: a promise, an allocation and a timer for each of them cost more than what is done with the bytes.
 */

const PIECE_BYTES = 65_536;

/**
 * What the Workers runtime has beyond the standard:
 * https://developers.cloudflare.com/workers/runtime-apis/streams/readablestreambyobreader/
 */
interface FillingReader {
  readAtLeast?(bytes: number, view: Uint8Array): Promise<{ done: boolean; value?: Uint8Array | undefined }>;
}

export interface ChunkReader {
  read(): Promise<{ done: boolean; value?: Uint8Array | undefined }>;
  cancel(reason?: unknown): Promise<void>;
}

/** A reader of a stream, which is locked to it. */
export function chunkReader(stream: ReadableStream<Uint8Array>): ChunkReader {
  let reader: ReadableStreamBYOBReader & FillingReader;
  try {
    reader = stream.getReader({ mode: 'byob' });
  } catch {
    // Not a byte stream, but one of arbitrary chunks.
    return stream.getReader();
  }
  return {
    read: () => {
      const view = new Uint8Array(PIECE_BYTES);
      return reader.readAtLeast?.(PIECE_BYTES, view) ?? reader.read(view);
    },
    cancel: (reason) => reader.cancel(reason),
  };
}
