/** An engine that yields the frames it was given, so that the HTTP side can be tested without weights. */
import { ModelCatalog } from '../../src/engine/catalog.ts';
import { type ModelProvider, ModelUnavailable } from '../../src/engine/provider.ts';
import type { Completion, Engine, Frame, GenerateRequest } from '../../src/engine/types.ts';
import { letters } from './letters.ts';

export interface Script {
  frames: readonly Frame[];
  completion: Completion;
  /** Runs before each frame, by its number; throw to fail there, or wait. */
  beforeFrame?: (frame: number, signal: AbortSignal) => Promise<void> | void;
}

export interface ScriptedEngine extends Engine {
  readonly requests: GenerateRequest[];
  /** How each generation ended. */
  readonly endings: ('completed' | 'aborted' | 'failed')[];
}

export const usage = {
  promptTokens: 5,
  cachedTokens: 3,
  truncatedTokens: 2,
  completionTokens: 4,
  steps: 2,
  slotEvaluations: 64,
  cpuMs: 1,
};

/** Two denoising steps: the second fills the hole that the first one left. */
export const helloScript: Script = {
  frames: [
    { text: 'hello ld', settled: 'hello ' },
    { text: 'hello world', settled: 'hello world' },
  ],
  completion: { text: 'hello world!', finishReason: 'stop', usage, confidence: -0.5 },
};

export function scriptedEngine(script: Script = helloScript): ScriptedEngine {
  const requests: GenerateRequest[] = [];
  const endings: ScriptedEngine['endings'] = [];
  return {
    vocabulary: letters,
    model: {
      id: 'nano',
      created: 1_700_000_000,
      contextLength: 1056,
      maxOutputTokens: 256,
      diffusion: { canvasWidths: [8, 16, 32], revealThreshold: 0.5, editThreshold: 0.8 },
    },
    requests,
    endings,
    async *generate({ keepAlive: _, ...asked }, signal) {
      requests.push(asked); // what the client asks for
      let ending: ScriptedEngine['endings'][number] = 'aborted';
      try {
        for (const [index, frame] of script.frames.entries()) {
          await script.beforeFrame?.(index, signal);
          signal.throwIfAborted();
          yield frame;
        }
        ending = 'completed';
        return script.completion;
      } catch (error) {
        if (!signal.aborted) ending = 'failed';
        throw error;
      } finally {
        endings.push(ending);
      }
    },
  };
}

/** Serves the engines under the names of their models; the first is the default. */
export function catalogOf(...engines: readonly Engine[]): ModelCatalog {
  return new ModelCatalog(
    engines.map((engine) => ({
      id: engine.model.id,
      status: { state: 'loaded' },
      info: async () => engine.model,
      engine: async () => engine,
    })),
  );
}

/** A model that cannot be loaded. */
export function unavailableModel(id: string, error = new ModelUnavailable(id, 'missing', [], {})): ModelProvider {
  const reject = () => Promise.reject(error);
  return { id, status: { state: 'unavailable', error }, info: reject, engine: reject };
}
