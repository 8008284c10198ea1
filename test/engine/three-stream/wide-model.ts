/** The golden model with the window of `small`: it has near windows, and is small enough for tests. */

import { createReadStream } from 'node:fs';
import { Readable } from 'node:stream';
import { parseConfig } from '../../../src/denoiser/three-stream/config.ts';
import { Denoiser } from '../../../src/denoiser/three-stream/denoiser.ts';
import { createEngine } from '../../../src/engine/create.ts';
import type { Engine } from '../../../src/engine/types.ts';
import { loadTokenizer } from '../../../src/tokenizer/tokenizer.ts';
import { kernelModule } from '../../assembly/builds.ts';
import { readJson } from '../../denoiser/golden-files.ts';
import { SEVERAL_PAIRS } from '../sample-engine.ts';

const folder = new URL('../../golden/shifted/', import.meta.url);
const json = readJson(new URL('tokenizer.json', folder));
const golden = readJson(new URL('config.json', folder)) as { diffusion: object };
const config = {
  ...golden,
  max_position_embeddings: 2048,
  diffusion: { ...golden.diffusion, prefix_tokens: 1024, suffix_tokens: 256 },
};
const modules = { relaxed: kernelModule('relaxed'), simd: kernelModule('simd') };
const openWeights = async () =>
  Readable.toWeb(createReadStream(new URL('model.safetensors', folder))) as ReadableStream<Uint8Array>;

export const wideTokenizer = loadTokenizer(json);
/** Tokens of a near window and of a narrow one, with both markers. */
export const NEAR_TOKENS = 2 + 256 + 64;
export const NARROW_TOKENS = 2 + 128 + 31;

export function wideDenoiser(cacheBytes = SEVERAL_PAIRS): Promise<Denoiser> {
  return Denoiser.load({ modules, config: parseConfig(config), openWeights, cacheBytes });
}

export function wideEngine(cacheBytes = SEVERAL_PAIRS): Promise<Engine> {
  return createEngine({
    model: { id: 'wide', created: 0 },
    kernels: modules,
    config,
    tokenizer: json,
    openWeights,
    limits: { cacheBytes },
  });
}
