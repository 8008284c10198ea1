/** Makes the engine of a model: its weights, its model or models, and the queue that they share. */

import { isSingleStream, parseSingleStreamConfig } from '../denoiser/single-stream/config.ts';
import { SingleStreamDenoiser } from '../denoiser/single-stream/denoiser.ts';
import { parseConfig } from '../denoiser/three-stream/config.ts';
import { Denoiser } from '../denoiser/three-stream/denoiser.ts';
import { ConfigError } from '../denoiser/transformer/shape.ts';
import { loadTokenizer, type SpecialTokens, type Tokenizer } from '../tokenizer/tokenizer.ts';
import { AdmissionQueue } from './admission-queue.ts';
import { AutoregressiveModel } from './autoregressive/model.ts';
import { CanvasEngine } from './engine.ts';
import {
  SINGLE_STREAM_CONCURRENCY,
  SingleStreamModel,
  singleStreamInfo,
  specialTokensOf,
} from './single-stream/model.ts';
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

/**
 * Loads the model that `config.json` describes. Rejects with TokenizerError, ConfigError or SafetensorsError, each
 * naming the fault in the file, and with any error of the weights stream.
 */
export function createEngine(parts: EngineParts): Promise<Engine> {
  return isSingleStream(parts.config) ? createSingleStreamEngine(parts) : createThreeStreamEngine(parts);
}

/** @param config parsed JSON of config.json. Throws ConfigError. */
export function describeModel(config: unknown): ReturnType<DescribeModel> {
  return isSingleStream(config)
    ? singleStreamInfo(parseSingleStreamConfig(config))
    : threeStreamInfo(parseConfig(config));
}

async function createThreeStreamEngine({ model, limits = {}, ...parts }: EngineParts): Promise<Engine> {
  const config = parseConfig(parts.config);
  const tokenizer = tokenizerFor(parts.tokenizer, config);
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

async function createSingleStreamEngine({ model, limits = {}, ...parts }: EngineParts): Promise<Engine> {
  const config = parseSingleStreamConfig(parts.config);
  const tokenizer = tokenizerFor(parts.tokenizer, config, specialTokensOf(config));
  const { kernels: modules, openWeights } = parts;
  const denoiser = await SingleStreamDenoiser.load({ modules, config, openWeights });
  const admission = new AdmissionQueue({ maxConcurrent: SINGLE_STREAM_CONCURRENCY, maxWaiting: limits.maxWaiting });
  const diffusion = new SingleStreamModel(tokenizer, denoiser, admission);
  return new CanvasEngine({ model, tokenizer, admission, models: { diffusion } });
}

/** Throws TokenizerError, and ConfigError when the tokenizer has tokens that the model has not. */
function tokenizerFor(json: unknown, { vocabSize }: { vocabSize: number }, special?: SpecialTokens): Tokenizer {
  const tokenizer = loadTokenizer(json, special);
  if (tokenizer.vocabSize > vocabSize) {
    throw new ConfigError(`config.json: vocab_size is ${vocabSize}, the tokenizer has ${tokenizer.vocabSize} tokens`);
  }
  return tokenizer;
}
