/** An engine over the random model and the sample tokenizer, and ways to drive it. */

import { createEngine } from '../../src/engine/create.ts';
import type {
  Completion,
  Engine,
  EngineLimits,
  EngineParts,
  Frame,
  GenerateRequest,
  KernelModules,
} from '../../src/engine/types.ts';
import { fileTensors, type Model, randomModel, SAMPLE_CONFIG } from '../denoiser/random-model.ts';
import { safetensorsBytes, streamOf } from '../denoiser/safetensors-file.ts';
import { sampleTokenizer } from '../tokenizer/sample-tokenizer.ts';

export const CANVAS_SLOTS = SAMPLE_CONFIG.diffusion.canvas_slots;
/** Room for one pair of contexts, the least an engine makes. */
export const ONE_PAIR = 0;
export const SEVERAL_PAIRS = 8 * 2 ** 20;

/** What the engine is made of, but for its limits. */
export function sampleParts(kernels: KernelModules, model: Model = randomModel(1)): EngineParts {
  return {
    model: { id: 'sample', created: 1_790_000_000 },
    kernels,
    config: SAMPLE_CONFIG,
    tokenizer: sampleTokenizer(),
    openWeights: async () => streamOf(safetensorsBytes(fileTensors(model)), 65_536),
  };
}

export function sampleEngine(
  kernels: KernelModules,
  cacheBytes = SEVERAL_PAIRS,
  model: Model = randomModel(1),
  limits: EngineLimits = {},
): Promise<Engine> {
  return createEngine({ ...sampleParts(kernels, model), limits: { cacheBytes, ...limits } });
}

export function request(changes: Partial<GenerateRequest> = {}): GenerateRequest {
  return {
    prefix: 'def f(x):\n    return ',
    suffix: '\n\nprint(f(1))\n',
    maxTokens: 40,
    stop: [],
    temperature: 0,
    topP: 1,
    seed: 0,
    ...changes,
  };
}

export async function run(
  engine: Engine,
  changes: Partial<GenerateRequest> = {},
  signal = new AbortController().signal,
): Promise<{ frames: Frame[]; completion: Completion }> {
  const generation = engine.generate(request(changes), signal);
  const frames: Frame[] = [];
  for (;;) {
    const { done, value } = await generation.next();
    if (done) return { frames, completion: value };
    frames.push(value);
  }
}

/** What a completion says, without what it cost. */
export function said({ text, finishReason, confidence }: Completion) {
  return { text, finishReason, confidence };
}
