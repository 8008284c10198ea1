/** Content for stores, and models made of it. */
import { createHash } from 'node:crypto';
import type { Bytes } from '../../src/weights/store.ts';

/** Bytes without a short period, so that a part in the wrong place is noticed. */
export function sampleBytes(length: number, seed = 1): Bytes {
  const bytes = new Uint8Array(length);
  let state = seed;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}

export const sha256Of = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

export function manifestOf(files: Record<string, Uint8Array>, name: string): string {
  const entries = Object.entries(files).map(([path, content]) => ({
    path,
    size: content.byteLength,
    sha256: sha256Of(content),
  }));
  return JSON.stringify({ name, created: 1_700_000_000, files: entries });
}

/** The files of a model by their names in a store, manifest included; the weights are `weightBytes` long. */
export function sampleModel(name: string, weightBytes = 200_000): Map<string, Bytes> {
  const text = (value: string) => new TextEncoder().encode(value);
  const files: Record<string, Bytes> = {
    'config.json': text('{"model_type":"quicksilver"}'),
    'tokenizer.json': text('{"version":"1.0"}'),
    'model.safetensors': sampleBytes(weightBytes),
  };
  const all = { ...files, 'manifest.json': text(manifestOf(files, name)) };
  return new Map(Object.entries(all).map(([path, content]) => [`${name}/${path}`, content]));
}
