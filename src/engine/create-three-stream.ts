/** Makes the engine of a three-stream model: its weights, its decoders, and the queue that they share. */

import { parseConfig } from '../denoiser/three-stream/config.ts';
import { Denoiser } from '../denoiser/three-stream/denoiser.ts';
import { AdmissionQueue } from './admission-queue.ts';
import { AutoregressiveModel } from './autoregressive/model.ts';
import { CanvasEngine } from './engine.ts';
import { modelTokenizer } from './model-tokenizer.ts';
import { BatchScheduler } from './three-stream/batch-scheduler.ts';
import { ContextWindows } from './three-stream/context-windows.ts';
import { Contexts } from './three-stream/contexts.ts';
import { DEFAULT_CACHE_BYTES, ThreeStreamModel, threeStreamInfo } from './three-stream/model.ts';
import type { DescribeModel, Engine, EngineParts } from './types.ts';

/**
 * Requests that run concurrently, step by step, if there is room for their contexts. The others wait: if all ran at
 * once, under load no completion would be ready before the next key stroke aborts it.
 */
const MAX_CONCURRENT = 8;

/** As `createEngine` (engine/create.ts), of a three-stream model only. */
export async function createThreeStreamEngine({ model, limits = {}, ...parts }: EngineParts): Promise<Engine> {
  const config = parseConfig(parts.config);
  const tokenizer = modelTokenizer(parts.tokenizer, config);
  const { kernels: modules, openWeights } = parts;
  const { cacheBytes = DEFAULT_CACHE_BYTES, memoryBytes, maxWaiting, requestsPerPass, draftTokens } = limits;
  const { maxConcurrent = MAX_CONCURRENT } = limits;
  const denoiser = await Denoiser.load({ modules, config, openWeights, cacheBytes, memoryBytes });
  const contexts = new Contexts(denoiser);
  const admission = new AdmissionQueue({
    maxConcurrent: Math.min(contexts.count, maxConcurrent),
    release: (ticket) => contexts.release(ticket),
    maxWaiting,
    room: contexts,
  });
  const scheduler = new BatchScheduler(denoiser, admission, requestsPerPass);
  const windows = new ContextWindows(denoiser, contexts, admission);
  const diffusion = new ThreeStreamModel(tokenizer, denoiser, contexts, scheduler, windows, draftTokens);
  const autoregressive = new AutoregressiveModel(denoiser, contexts, admission, diffusion);
  return new CanvasEngine({ model, tokenizer, admission, models: { diffusion, autoregressive } });
}

/** As `describeModel` (engine/create.ts), of a three-stream model only. */
export function describeThreeStream(config: unknown): ReturnType<DescribeModel> {
  return threeStreamInfo(parseConfig(config));
}
