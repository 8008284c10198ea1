/** Safetensors files as bytes and as streams. */

import type { FileTensor } from './random-model.ts';

/** Chunk size that cuts every value somewhere. */
export const AWKWARD_CHUNK_BYTES = 1013;

/** A safetensors file; `edit` may damage the parsed header before it is written. */
export function safetensorsBytes(
  tensors: readonly FileTensor[],
  edit: (header: Header) => void = () => {},
): Uint8Array {
  const header: Header = { __metadata__: { format: 'pt' } };
  let end = 0;
  for (const { name, dtype, shape, bytes } of tensors) {
    header[name] = { dtype, shape: [...shape], data_offsets: [end, end + bytes.length] };
    end += bytes.length;
  }
  edit(header);
  const text = new TextEncoder().encode(JSON.stringify(header));
  const length = new Uint8Array(BigUint64Array.of(BigInt(text.length)).buffer);
  return concatenate([length, text, ...tensors.map(({ bytes }) => bytes)]);
}

// biome-ignore lint/suspicious/noExplicitAny: damaged on purpose
export type Header = Record<string, any>;

export function streamOf(bytes: Uint8Array, chunkBytes = AWKWARD_CHUNK_BYTES): ReadableStream<Uint8Array> {
  let at = 0;
  return new ReadableStream({
    pull(controller) {
      if (at >= bytes.length) controller.close();
      else controller.enqueue(bytes.slice(at, at + chunkBytes));
      at += chunkBytes;
    },
  });
}

function concatenate(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
