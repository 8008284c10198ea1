/** An engine over the small shifted model of the golden files. */

import { createReadStream } from 'node:fs';
import { Readable } from 'node:stream';
import { createEngine } from '../../../src/engine/create.ts';
import type { Engine, EngineLimits } from '../../../src/engine/types.ts';
import { kernelModule } from '../../assembly/builds.ts';
import { readJson } from '../../denoiser/golden-files.ts';
import { SEVERAL_PAIRS } from '../sample-engine.ts';

export const SHIFTED_MODEL = new URL('../../golden/shifted/', import.meta.url);

/** @param diffusion instead of what its `config.json` has */
export function openShifted(diffusion: object = {}, limits: EngineLimits = {}): Promise<Engine> {
  const config = readJson(new URL('config.json', SHIFTED_MODEL)) as { diffusion: object };
  const weights = new URL('model.safetensors', SHIFTED_MODEL);
  return createEngine({
    model: { id: 'shifted', created: 0 },
    kernels: { relaxed: kernelModule('relaxed'), simd: kernelModule('simd') },
    config: { ...config, diffusion: { ...config.diffusion, ...diffusion } },
    tokenizer: readJson(new URL('tokenizer.json', SHIFTED_MODEL)),
    openWeights: async () => Readable.toWeb(createReadStream(weights)) as ReadableStream<Uint8Array>,
    limits: { cacheBytes: SEVERAL_PAIRS, ...limits },
  });
}
