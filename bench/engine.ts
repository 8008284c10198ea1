/** The engine with the bundled model, and one completion of it. */

import { createReadStream, readFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import { createEngine } from '../src/engine/engine.ts';
import type { Completion, Engine, EngineLimits, GenerateRequest } from '../src/engine/types.ts';

export const MODEL_FOLDER = new URL('../models/nano/', import.meta.url);

export function readModelJson(file: string): unknown {
  return JSON.parse(readFileSync(new URL(file, MODEL_FOLDER), 'utf8'));
}

export function openBundledEngine(limits: EngineLimits = {}): Promise<Engine> {
  const kernel = (build: string) =>
    new WebAssembly.Module(readFileSync(new URL(`../build/kernels.${build}.wasm`, import.meta.url)));
  return createEngine({
    model: { id: 'nano', created: 0 },
    kernels: { relaxed: kernel('relaxed'), simd: kernel('simd') },
    config: readModelJson('config.json'),
    tokenizer: readModelJson('tokenizer.json'),
    openWeights: async () =>
      Readable.toWeb(createReadStream(new URL('model.safetensors', MODEL_FOLDER))) as ReadableStream<Uint8Array>,
    limits,
  });
}

export type Prompted = Pick<GenerateRequest, 'prefix' | 'suffix' | 'maxTokens'> & Partial<GenerateRequest>;

const never = new AbortController().signal;

/** A greedy completion, unless the request says otherwise. */
export async function complete(engine: Engine, request: Prompted): Promise<Completion> {
  const generation = engine.generate({ stop: [], temperature: 0, topP: 1, seed: 0, ...request }, never);
  for (;;) {
    const { done, value } = await generation.next();
    if (done) return value;
  }
}
