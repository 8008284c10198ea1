import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { WeightsDamaged, WeightsMissing } from '../../src/weights/errors.ts';
import type { WeightSource } from '../../src/weights/source.ts';
import { openVerified } from '../../src/weights/verify.ts';

const content = Uint8Array.from({ length: 1000 }, (_, index) => index);
const file = { path: 'a', size: content.byteLength, sha256: createHash('sha256').update(content).digest('hex') };

/** A source that streams the chunks, with any declared size. */
function sourceOf(...chunks: Uint8Array[]): WeightSource {
  return { size: async () => file.size, open: async () => streamOf(chunks) };
}

function streamOf(chunks: Uint8Array[]): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(chunk);
      controller.close();
    },
  });
}

/** What came through before the stream ended, and the error it ended with. */
async function read(source: WeightSource) {
  const { stream, isVerified } = await openVerified(source, file);
  let bytes = 0;
  let error: unknown;
  try {
    for await (const chunk of stream) bytes += chunk.byteLength;
  } catch (reason) {
    error = reason;
  }
  return { bytes, error, verified: isVerified() };
}

describe('a verified stream', () => {
  it('should pass the bytes through in chunks as they come', async () => {
    const result = await read(sourceOf(content.subarray(0, 1), content.subarray(1, 700), content.subarray(700)));
    expect(result).toEqual({ bytes: 1000, error: undefined, verified: true });
  });

  it('should fail before the last chunk when the content differs', async () => {
    const damaged = content.slice().fill(1, 0, 1);
    const { bytes, error, verified } = await read(sourceOf(damaged.subarray(0, 700), damaged.subarray(700)));
    expect(bytes).toBeLessThanOrEqual(700);
    expect(error).toBeInstanceOf(WeightsDamaged);
    expect(error).toMatchObject({
      expected: `SHA-256 ${file.sha256}`,
      actual: expect.stringMatching(/^[0-9a-f]{64}$/),
    });
    expect(verified).toBe(false);
  });

  it('should fail at the end when the stream is shorter than the store said', async () => {
    const { error, verified } = await read(sourceOf(content.subarray(0, 999)));
    expect(error).toMatchObject({ file: 'a', expected: '1000 bytes', actual: '999 bytes' });
    expect(verified).toBe(false);
  });

  it('should fail at the first byte too many, without waiting for the end', async () => {
    const endless = new ReadableStream<Uint8Array>({ pull: (controller) => controller.enqueue(content) });
    const { error } = await read({ size: async () => file.size, open: async () => endless });
    expect(error).toMatchObject({ file: 'a', expected: '1000 bytes', actual: 'more' });
  });

  it('should pass on the failure of the store', async () => {
    const failing = new ReadableStream<Uint8Array>({ pull: (controller) => controller.error(new Error('gone')) });
    const { error, verified } = await read({ size: async () => file.size, open: async () => failing });
    expect(error).toMatchObject({ message: 'gone' });
    expect(verified).toBe(false);
  });

  it('should not open a file that is not there', async () => {
    const empty: WeightSource = { size: async () => null, open: async () => null };
    await expect(openVerified(empty, file)).rejects.toThrow(WeightsMissing);
  });
});
