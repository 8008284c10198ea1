/**
 * Writes an object of known size and SHA-256, in bounded memory. It becomes visible after all of it is verified, or not
 * at all.
 */
import { createHash } from 'node:crypto';
import { WeightsDamaged } from './errors.ts';
import type { ManifestFile } from './manifest.ts';
import type { Bytes, WritableStore } from './store.ts';

/** At least the 5 MiB that S3 asks of a part, and few enough of them in a 128 MiB isolate. */
export const PART_BYTES = 8 * 2 ** 20;

/** The maximum of S3 and R2. */
const MAX_PARTS = 10_000;

export interface WriteOptions {
  partBytes?: number;
  /** Called after each part, with the bytes written so far. */
  onProgress?: (bytes: number) => void;
}

/** @throws WeightsDamaged, with nothing written, if the chunks do not match the manifest. */
export async function writeVerified(
  store: WritableStore,
  name: string,
  file: ManifestFile,
  chunks: AsyncIterable<Uint8Array>,
  { partBytes = PART_BYTES, onProgress = () => {} }: WriteOptions = {},
): Promise<void> {
  const hash = createHash('sha256');
  let size = 0;
  const parts = blocks(chunks, Math.max(partBytes, Math.ceil(file.size / MAX_PARTS)), (chunk) => {
    size += chunk.byteLength;
    if (size > file.size) throw new WeightsDamaged(file.path, `${file.size} bytes`, 'more');
    hash.update(chunk);
  });
  const verify = () => {
    if (size !== file.size) throw new WeightsDamaged(file.path, `${file.size} bytes`, `${size} bytes`);
    const sha256 = hash.digest('hex');
    if (sha256 !== file.sha256) throw new WeightsDamaged(file.path, `SHA-256 ${file.sha256}`, sha256);
  };

  const first = await parts.next();
  if (first.done || first.value.byteLength === file.size) {
    // Also checks that nothing follows.
    if (!first.done) await parts.next();
    verify();
    await store.put(name, first.value ?? new Uint8Array());
    return onProgress(size);
  }
  const upload = await store.upload(name);
  try {
    for (let part: IteratorResult<Bytes, void> = first; !part.done; part = await parts.next()) {
      await upload.part(part.value);
      onProgress(size);
    }
    verify();
    await upload.complete();
  } catch (error) {
    // The error of the upload is reported, and not that its parts could not be dropped either.
    await upload.abort().catch(() => {});
    throw error;
  }
}

/**
 * The bytes of the chunks in blocks of `blockBytes`, the last one shorter. All blocks share the same memory, so the
 * caller has to finish with one before it asks for the next: garbage is freed late, and an isolate has little memory.
 */
export async function* blocks(
  chunks: AsyncIterable<Uint8Array>,
  blockBytes: number,
  onChunk: (chunk: Uint8Array) => void = () => {},
): AsyncGenerator<Bytes, undefined> {
  const block = new Uint8Array(blockBytes);
  let filled = 0;
  for await (const chunk of chunks) {
    onChunk(chunk);
    for (let position = 0; position < chunk.byteLength; ) {
      const part = chunk.subarray(position, position + blockBytes - filled);
      block.set(part, filled);
      filled += part.byteLength;
      position += part.byteLength;
      if (filled === blockBytes) {
        yield block;
        filled = 0;
      }
    }
  }
  if (filled > 0) yield block.subarray(0, filled);
}
