/** Verification of a file while it streams: no second copy, and no byte is trusted before the last one was hashed. */
import { createHash } from 'node:crypto';
import { WeightsDamaged, WeightsMissing } from './errors.ts';
import type { ManifestFile } from './manifest.ts';
import type { WeightSource } from './source.ts';

export interface VerifiedStream {
  /** The bytes as they come; errors with `WeightsDamaged` at the end when they are not those of the manifest. */
  stream: ReadableStream<Uint8Array>;
  /** True once the whole file was read and found right. */
  isVerified(): boolean;
}

/**
 * Opens a file of the manifest for reading under verification.
 * @throws WeightsMissing when the source does not have it.
 */
export async function openVerified(source: WeightSource, file: ManifestFile): Promise<VerifiedStream> {
  const body = await source.open(file.path);
  if (body === null) throw new WeightsMissing([file.path]);
  const hash = createHash('sha256');
  let size = 0;
  let verified = false;
  const check = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      size += chunk.byteLength;
      if (size > file.size) throw new WeightsDamaged(file.path, `${file.size} bytes`, 'more');
      hash.update(chunk);
      controller.enqueue(chunk);
    },
    flush() {
      if (size !== file.size) throw new WeightsDamaged(file.path, `${file.size} bytes`, `${size} bytes`);
      const sha256 = hash.digest('hex');
      if (sha256 !== file.sha256) throw new WeightsDamaged(file.path, `SHA-256 ${file.sha256}`, sha256);
      verified = true;
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
