import { describe, expect, it } from 'vitest';
import { chunkReader } from '../../src/weights/chunk-reader.ts';

const bytes = Uint8Array.from({ length: 200_000 }, (_, i) => (i * 31) % 251);
const PIECES = [4096, 997, 70_000];

function source(isOfBytes: boolean, pieceBytes: number): ReadableStream<Uint8Array> {
  let at = 0;
  const next = (controller: { enqueue(chunk: Uint8Array<ArrayBuffer>): void; close(): void }) => {
    controller.enqueue(bytes.slice(at, at + pieceBytes));
    at += pieceBytes;
    if (at >= bytes.length) controller.close();
  };
  if (!isOfBytes) return new ReadableStream<Uint8Array>({ pull: next });
  return new ReadableStream({ type: 'bytes', pull: next });
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
  it.each(PIECES)('should read a stream of bytes in any pieces of %i', async (pieceBytes) => {
    expect(await readAll(source(true, pieceBytes))).toEqual(Buffer.from(bytes));
  });

  it('should read a stream that is not one of bytes', async () => {
    expect(await readAll(source(false, 5000))).toEqual(Buffer.from(bytes));
  });

  it('should pass on what a stream fails with, and cancel it', async () => {
    const failure = new Error('cut');
    const failing = new ReadableStream({ type: 'bytes', pull: (controller) => controller.error(failure) });
    await expect(chunkReader(failing).read()).rejects.toBe(failure);
    const reasons: unknown[] = [];
    const open = new ReadableStream({ type: 'bytes', cancel: (reason) => void reasons.push(reason) });
    await chunkReader(open).cancel('enough');
    expect(reasons).toEqual(['enough']);
  });
});
