/** Verification of a file while it streams: no second copy, and no byte is trusted before the last one was hashed. */
import { createHash } from 'node:crypto';
import { chunkReader } from './chunk-reader.ts';
import { WeightsDamaged, WeightsMissing } from './errors.ts';
import type { ManifestFile } from './manifest.ts';
import type { WeightSource } from './source.ts';

export interface VerifiedStream {
  /**
   * The bytes as they arrive; errors with `WeightsDamaged` before the last of them if they do not match the manifest.
   */
  stream: ReadableStream<Uint8Array>;
  /** True after the whole file was read and verified. */
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
  // The last chunk waits for the result: a reader that stores complete files (a cache that counts bytes, for example)
  // never gets a complete damaged one.
  let held: Uint8Array | undefined;
  const reader = chunkReader(body);

  function take(chunk: Uint8Array): Uint8Array | undefined {
    size += chunk.byteLength;
    if (size > file.size) throw new WeightsDamaged(file.path, `${file.size} bytes`, 'more');
    hash.update(chunk);
    const before = held;
    held = chunk;
    return before;
  }

  function check(): void {
    if (size !== file.size) throw new WeightsDamaged(file.path, `${file.size} bytes`, `${size} bytes`);
    const sha256 = hash.digest('hex');
    if (sha256 !== file.sha256) throw new WeightsDamaged(file.path, `SHA-256 ${file.sha256}`, sha256);
    verified = true;
  }

  const stream = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          for (let handed = false; !handed; ) {
            const { done, value } = await reader.read();
            const chunk = value?.byteLength ? take(value) : undefined;
            if (done) {
              check();
              for (const last of [chunk, held]) if (last !== undefined) controller.enqueue(last);
              return controller.close();
            }
            if (chunk !== undefined) controller.enqueue(chunk);
            handed = chunk !== undefined;
          }
        } catch (error) {
          await reader.cancel(error).catch(() => {});
          throw error;
        }
      },
      cancel: (reason) => reader.cancel(reason),
    },
    // Nothing is read before it is asked for: what waits here is memory.
    { highWaterMark: 0 },
  );
  return { stream, isVerified: () => verified };
}

/** Reads a verified file as JSON. @throws WeightsMissing, WeightsDamaged. */
export async function readVerifiedJson(source: WeightSource, file: ManifestFile): Promise<unknown> {
  const { stream } = await openVerified(source, file);
  const text = await textOf(stream);
  try {
    return JSON.parse(text);
  } catch {
    throw new WeightsDamaged(file.path, 'JSON', `${text.length} characters of something else`);
  }
}

/** As `Response.text()`, which in browsers rejects with an error of its own and not with that of the stream. */
async function textOf(stream: ReadableStream<Uint8Array>): Promise<string> {
  const decoder = new TextDecoder();
  const reader = stream.getReader();
  let text = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return text + decoder.decode();
    text += decoder.decode(value, { stream: true });
  }
}
