import { describe, expect, it } from 'vitest';
import { chunkReader } from '../../src/weights/chunk-reader.ts';

const bytes = Uint8Array.from({ length: 200_000 }, (_, i) => (i * 31) % 251);
const PIECES = [4096, 1, 70_000];

function source(type: 'bytes' | undefined, pieceBytes: number): ReadableStream<Uint8Array> {
  let at = 0;
  return new ReadableStream({
    ...(type && { type }),
    pull(controller: ReadableStreamDefaultController<Uint8Array>) {
      controller.enqueue(bytes.slice(at, at + pieceBytes));
      at += pieceBytes;
      if (at >= bytes.length) controller.close();
    },
  } as UnderlyingDefaultSource<Uint8Array>);
}

async function readAll(stream: ReadableStream<Uint8Array>): Promise<Buffer> {
  const reader = chunkReader(stream);
  const chunks: Uint8Array[] = [];
  for (;;) {
    const { done, value } = await reader.read();
    if (value) chunks.push(value.slice());
    if (done) return Buffer.concat(chunks);
  }
}

describe('chunkReader', () => {
  it.each(PIECES)('should read what a stream of bytes has, whatever pieces of %i it comes in', async (pieceBytes) => {
    const size = pieceBytes === 1 ? 300 : bytes.length;
    const stream = pieceBytes === 1 ? new Response(bytes.slice(0, size)).body! : source('bytes', pieceBytes);
    expect(await readAll(stream)).toEqual(Buffer.from(bytes.subarray(0, size)));
  });

  it('should read a stream that is not one of bytes', async () => {
    expect(await readAll(source(undefined, 5000))).toEqual(Buffer.from(bytes));
  });

  it('should pass on what a stream fails with, and cancel it', async () => {
    const failure = new Error('cut');
    let cancelled: unknown;
    const failing = new ReadableStream<Uint8Array>({
      type: 'bytes',
      pull: (c) => c.error(failure),
    } as UnderlyingByteSource);
    await expect(chunkReader(failing).read()).rejects.toBe(failure);
    const open = new ReadableStream<Uint8Array>({ type: 'bytes', cancel: (reason) => void (cancelled = reason) });
    await chunkReader(open).cancel('enough');
    expect(cancelled).toBe('enough');
  });
});
