/** An engine that is as good as free: what it says is cut from the request, so that it is as odd as the request. */
import type { Engine, GenerateRequest } from '../../src/engine/types.ts';
import { letters } from './letters.ts';

const MAX_CHARS = 48;

/** @param check sees each request that reaches the engine. */
export function echoEngine(check: (request: GenerateRequest) => void): Engine {
  return {
    vocabulary: letters,
    model: { id: 'nano', created: 1_700_000_000, contextLength: 1056, maxOutputTokens: 256 },
    async *generate(request, signal) {
      check(request);
      const text = `${request.prefix.slice(-MAX_CHARS / 2)}\n${request.suffix.slice(0, MAX_CHARS / 2)}`;
      const settled = text.slice(0, text.length / 2);
      yield { text: settled, settled };
      signal.throwIfAborted();
      yield { text, settled: text };
      const completionTokens = Math.min(text.length, request.maxTokens);
      return {
        text,
        finishReason: completionTokens < text.length ? 'length' : 'stop',
        usage: {
          promptTokens: request.prefix.length,
          cachedTokens: 0,
          truncatedTokens: 0,
          completionTokens,
          steps: 2,
          slotEvaluations: 64,
          cpuMs: 0,
        },
        // Some are shown by an editor and some are not.
        confidence: -(text.length % 4),
      };
    },
  };
}
