/** The engine as one request sees it: bound by the request's time limit, and reporting what it did. */
import type { Context } from 'hono';
import { EngineBusy } from '../../engine/errors.ts';
import type { Completion, Engine, Frame, GenerateRequest } from '../../engine/types.ts';
import { ApiError } from '../../http/errors.ts';
import { keepAliveOf } from '../../http/keep-alive.ts';
import type {} from '../../middleware/context.ts';
import { asReplaced } from './open-requests.ts';

/** Wraps `engine` for the request of `c`; works without either middleware. */
export function observed(c: Context, engine: Engine): Engine {
  const observation = c.get('observation');
  const timeLimit = c.get('timeLimit');
  if (observation) {
    observation.engine = engine;
    observation.model = engine.model.id;
  }

  async function* generate(request: GenerateRequest, signal: AbortSignal): AsyncGenerator<Frame, Completion> {
    const limited = timeLimit ? AbortSignal.any([signal, timeLimit]) : signal;
    let ended = false;
    observation?.started();
    try {
      const completion = yield* engine.generate({ ...request, keepAlive: keepAliveOf(c) }, limited);
      ended = true;
      observation?.completed(completion);
      return completion;
    } catch (error) {
      ended = true;
      const errorCode = signal.aborted && !asReplaced(error) ? undefined : codeOf(error);
      observation?.ended(limited.aborted ? 'aborted' : 'failed', errorCode);
      throw error;
    } finally {
      // The iteration was cancelled: the reader of a stream has disconnected.
      if (!ended) observation?.ended('aborted');
    }
  }

  const { model, vocabulary, decidesLate = false } = engine;
  return {
    model,
    vocabulary,
    decidesLate,
    get underWay() {
      return engine.underWay ?? 0;
    },
    generate,
  };
}

function codeOf(error: unknown): string {
  if (error instanceof EngineBusy) return 'engine_busy';
  return (error instanceof ApiError && error.code) || 'internal_error';
}
