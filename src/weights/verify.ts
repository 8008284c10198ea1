/** Verification of a file while it streams: no second copy, and no byte is trusted before the last one was hashed. */
import { createHash } from 'node:crypto';
import { WeightsDamaged, WeightsMissing } from './errors.ts';
import type { ManifestFile } from './manifest.ts';
import type { WeightSource } from './source.ts';

export interface VerifiedStream {
  /** The bytes as they come; errors with `WeightsDamaged` before the last of them when they are not those of the manifest. */
  stream: ReadableStream<Uint8Array>;
  /** True once the whole file was read and found right. */
  isVerified(): boolean;
}

/**
 * Opens a file of the manifest for reading under verification.
 * @throws WeightsMissing when the source does not have it.
 */
export async function openVerified(source: WeightSource, file: ManifestFile): Promise<VerifiedStream> {
  const body = await source.open(file.path, file.sha256);
  if (body === null) throw new WeightsMissing([file.path]);
  const hash = createHash('sha256');
  let size = 0;
  let verified = false;
  // The last chunk waits for the verdict: who takes a file whole (a cache, say, that counts its bytes) never has a damaged one whole.
  let held: Uint8Array | undefined;
  const check = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      size += chunk.byteLength;
      if (size > file.size) throw new WeightsDamaged(file.path, `${file.size} bytes`, 'more');
      hash.update(chunk);
      if (held !== undefined) controller.enqueue(held);
      held = chunk;
    },
    flush(controller) {
      if (size !== file.size) throw new WeightsDamaged(file.path, `${file.size} bytes`, `${size} bytes`);
      const sha256 = hash.digest('hex');
      if (sha256 !== file.sha256) throw new WeightsDamaged(file.path, `SHA-256 ${file.sha256}`, sha256);
      verified = true;
      if (held !== undefined) controller.enqueue(held);
    },
  });
  return { stream: body.pipeThrough(check), isVerified: () => verified };
}

/** Reads a verified file as JSON. @throws WeightsMissing, WeightsDamaged. */
export async function readVerifiedJson(source: WeightSource, file: ManifestFile): Promise<unknown> {
  const { stream } = await openVerified(source, file);
  const text = await new Response(stream).text();
  try {
    return JSON.parse(text);
  } catch {
    throw new WeightsDamaged(file.path, 'JSON', `${text.length} characters of something else`);
  }
}
