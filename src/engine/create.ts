/** The engine of a model, by what its `config.json` says it is. */

import { isSingleStream } from '../denoiser/single-stream/config.ts';
import { createEngine } from './engine.ts';
import { createSingleStreamEngine } from './single-stream/engine.ts';
import type { Engine, EngineParts } from './types.ts';

/** Rejects with TokenizerError, ConfigError or SafetensorsError, each naming what is wrong in the file. */
export function createEngineOf(parts: EngineParts): Promise<Engine> {
  return isSingleStream(parts.config) ? createSingleStreamEngine(parts) : createEngine(parts);
}
