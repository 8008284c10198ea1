/** The engine with the bundled model or another one, and one completion of it. */

import { createReadStream, readFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import { createEngine } from '../src/engine/create.ts';
import type { Completion, Engine, EngineLimits, GenerateRequest } from '../src/engine/types.ts';

export const MODEL_FOLDER = new URL('../models/nano/', import.meta.url);

export function readModelJson(file: string, folder = MODEL_FOLDER): unknown {
  return JSON.parse(readFileSync(new URL(file, folder), 'utf8'));
}

/** Both builds of the kernels. */
export function benchModules(): { relaxed: WebAssembly.Module; simd: WebAssembly.Module } {
  const kernel = (build: string) =>
    new WebAssembly.Module(readFileSync(new URL(`../build/kernels.${build}.wasm`, import.meta.url)));
  return { relaxed: kernel('relaxed'), simd: kernel('simd') };
}

export async function openModelWeights(folder = MODEL_FOLDER): Promise<ReadableStream<Uint8Array>> {
  return Readable.toWeb(createReadStream(new URL('model.safetensors', folder))) as ReadableStream<Uint8Array>;
}

export function openBundledEngine(limits: EngineLimits = {}): Promise<Engine> {
  return openEngine(MODEL_FOLDER, limits);
}

/**
 * @param folder of a model; ends in a slash
 * @param diffusion instead of what `config.json` has
 */
export function openEngine(folder: URL, limits: EngineLimits, diffusion: object = {}): Promise<Engine> {
  const config = readModelJson('config.json', folder) as { diffusion: object };
  return createEngine({
    model: { id: 'bench', created: 0 },
    kernels: benchModules(),
    config: { ...config, diffusion: { ...config.diffusion, ...diffusion } },
    tokenizer: readModelJson('tokenizer.json', folder),
    openWeights: () => openModelWeights(folder),
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
