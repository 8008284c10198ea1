/** Makes the engine of a model of any kind that config.json can describe. */

import { isSingleStream, parseSingleStreamConfig } from '../denoiser/single-stream/config.ts';
import { SingleStreamDenoiser } from '../denoiser/single-stream/denoiser.ts';
import { AdmissionQueue } from './admission-queue.ts';
import { createThreeStreamEngine, describeThreeStream } from './create-three-stream.ts';
import { CanvasEngine } from './engine.ts';
import { modelTokenizer } from './model-tokenizer.ts';
import {
  SINGLE_STREAM_CONCURRENCY,
  SingleStreamModel,
  singleStreamInfo,
  specialTokensOf,
} from './single-stream/model.ts';
import type { DescribeModel, Engine, EngineParts } from './types.ts';

/**
 * Loads the model that `config.json` describes. Rejects with TokenizerError, ConfigError or SafetensorsError, each
 * naming the fault in the file, and with any error of the weights stream.
 */
export function createEngine(parts: EngineParts): Promise<Engine> {
  return isSingleStream(parts.config) ? createSingleStreamEngine(parts) : createThreeStreamEngine(parts);
}

/** @param config parsed JSON of config.json. Throws ConfigError. */
export function describeModel(config: unknown): ReturnType<DescribeModel> {
  return isSingleStream(config) ? singleStreamInfo(parseSingleStreamConfig(config)) : describeThreeStream(config);
}

async function createSingleStreamEngine({ model, limits = {}, ...parts }: EngineParts): Promise<Engine> {
  const config = parseSingleStreamConfig(parts.config);
  const tokenizer = modelTokenizer(parts.tokenizer, config, specialTokensOf(config));
  const { kernels: modules, openWeights } = parts;
  const denoiser = await SingleStreamDenoiser.load({ modules, config, openWeights });
  const admission = new AdmissionQueue({ maxConcurrent: SINGLE_STREAM_CONCURRENCY, maxWaiting: limits.maxWaiting });
  const diffusion = new SingleStreamModel(tokenizer, denoiser, admission);
  return new CanvasEngine({ model, tokenizer, admission, models: { diffusion } });
}
