/** Models of the tests, loaded into the runtime in Node. */

import { Denoiser } from '../../src/denoiser/three-stream/denoiser.ts';
import type { KernelBuild, KernelModules } from '../../src/denoiser/transformer/kernels.ts';
import { kernelModule } from '../assembly/builds.ts';
import { fileTensors, type Model } from './random-model.ts';
import { safetensorsBytes, streamOf } from './safetensors-file.ts';

/** Only one build, so that the probe cannot choose the other. */
export function modulesOf(build: KernelBuild): KernelModules {
  const simd = kernelModule('simd');
  return build === 'simd' ? { simd } : { simd, relaxed: kernelModule('relaxed') };
}

export function loadModel(model: Model, build: KernelBuild = 'relaxed', cacheBytes = 0): Promise<Denoiser> {
  return Denoiser.load({
    modules: modulesOf(build),
    config: model.config,
    openWeights: async () => streamOf(safetensorsBytes(fileTensors(model))),
    cacheBytes,
  });
}
