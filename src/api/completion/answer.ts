/** Answers a completion call, whole or as a stream, in the format of a dialect. */

import type { Context } from 'hono';
import type { ModelProvider } from '../../engine/provider.ts';
import type { Engine } from '../../engine/types.ts';
import { ApiError } from '../../http/errors.ts';
import { eventStream, type StreamFormat } from '../../http/event-stream.ts';
import { keepAliveOf } from '../../http/keep-alive.ts';
import { toApiError } from '../errors.ts';
import { type ChoiceEvent, type CompletionCall, type FinishedChoice, generateChoices } from './completion.ts';
import { observed } from './observed-engine.ts';
import { type Piece, piecesOf } from './pieces.ts';

/**
 * Early failures, such as a full queue, have occurred by then. A client that waits longer gets the head of the stream:
 * only then can the runtime notice that it has disconnected.
 */
const HEAD_START_MS = 100;

/** How a dialect writes its answers. */
export interface AnswerFormat {
  whole(choices: readonly FinishedChoice[]): object;
  items(pieces: AsyncIterable<Piece>): AsyncIterable<object>;
  stream: StreamFormat;
  /** The last item of a stream that fails. */
  error(error: ApiError): object;
}

/**
 * Finds the engine for a model name.
 * @throws ApiError 404 for a name that is not served, ModelUnavailable when the model cannot be loaded.
 */
export async function engineFor(c: Context, models: ModelProvider, name: string): Promise<Engine> {
  if (name !== models.id) {
    throw new ApiError(404, `The model '${name}' does not exist; this service has '${models.id}'.`, {
      param: 'model',
      code: 'model_not_found',
    });
  }
  return observed(c, await models.engine(keepAliveOf(c)));
}

/**
 * Runs the call and answers it. The engine is aborted when the client disconnects: the request's signal aborts, or the
 * stream is cancelled. Plain workerd notices a closed connection only when it writes to it, so there a whole answer is
 * computed to its end and only a stream is cut short.
 */
export async function respond(
  c: Context,
  engine: Engine,
  call: CompletionCall,
  format: AnswerFormat,
): Promise<Response> {
  const clientGone = new AbortController();
  const signal = AbortSignal.any([c.req.raw.signal, clientGone.signal]);
  const events = generateChoices(engine, call, signal);
  if (!call.stream) {
    const finished = finishedChoices(events);
    keepAliveOf(c)(finished);
    return c.json(format.whole(await finished));
  }
  // An early failure before the first frame is still an HTTP error; a later one is an event of the stream.
  const started = primed(events, engine.decidesLate ? undefined : HEAD_START_MS);
  keepAliveOf(c)(started);
  const { body, finished } = eventStream(format.items(piecesOf(await started, call)), format.stream, {
    onCancel: () => clientGone.abort(new Error('the client closed the stream')),
    toErrorEvent: (error) => (signal.aborted ? undefined : format.error(toApiError(error, c.get('requestId')))),
  });
  keepAliveOf(c)(finished);
  return c.body(body, 200, format.stream.headers);
}

async function finishedChoices(events: AsyncIterable<ChoiceEvent>): Promise<FinishedChoice[]> {
  const choices: FinishedChoice[] = [];
  for await (const event of events) if (event.type === 'end') choices.push(event);
  return choices;
}

/** Waits for the first item, `ms` milliseconds at most, and gives back the same items. */
async function primed<T>(items: AsyncGenerator<T, void>, ms: number | undefined): Promise<AsyncGenerator<T, void>> {
  const first = items.next();
  if (ms === undefined) await first;
  else await Promise.race([first, new Promise((resolve) => setTimeout(resolve, ms))]);
  return (async function* () {
    try {
      const { done, value } = await first;
      if (done) return;
      yield value;
      yield* items;
    } finally {
      // Cancelled before the first frame.
      await items.return();
    }
  })();
}
