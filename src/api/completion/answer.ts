/** Answers a completion call, whole or as a stream, in the format of a dialect. */

import type { Context } from 'hono';
import type { ModelCatalog } from '../../engine/catalog.ts';
import type { Engine } from '../../engine/types.ts';
import type { ApiError } from '../../http/errors.ts';
import { eventStream, type StreamFormat } from '../../http/event-stream.ts';
import { keepAliveOf } from '../../http/keep-alive.ts';
import { LATE_JSON_HEADERS, lateJson } from '../../http/late-json.ts';
import { watchedBody } from '../../middleware/body-end.ts';
import { toApiError } from '../errors.ts';
import { type ChoiceEvent, type CompletionCall, type FinishedChoice, generateChoices } from './completion.ts';
import { observed } from './observed-engine.ts';
import { asReplaced, replaceable } from './open-requests.ts';
import { type Piece, piecesOf } from './pieces.ts';
import { modelFor } from './served.ts';

/**
 * Early failures, such as a full queue, have occurred by then. A client that waits longer gets the head of the stream:
 * only then can the runtime notice that it has disconnected.
 */
const HEAD_START_MS = 100;

/**
 * A whole answer that is ready by then is sent with its length, as most answers to editors are. Errors in a request
 * show before its first step, so its status can be sent after that.
 */
const WHOLE_HEAD_START_MS = 150;

/** The same where other requests are under way: those that were abandoned take time from all others. */
const SHARED_HEAD_START_MS = 25;

/** Between two blanks of a whole answer, also where it waits for its first step. */
const BLANKS_MS = 50;

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
export async function engineFor(c: Context, models: ModelCatalog, name: string): Promise<Engine> {
  const model = modelFor(models, name);
  const observation = c.get('observation');
  if (observation) observation.model = model.id;
  return observed(c, await model.engine(keepAliveOf(c)));
}

/**
 * Runs the call and answers it. The engine is aborted when the client disconnects: the request's signal aborts, or the
 * body is cancelled. Plain workerd notices a closed connection only when it writes to it: a stream writes events and
 * comments, and a slow whole answer writes white space at each step.
 */
export async function respond(
  c: Context,
  engine: Engine,
  call: CompletionCall,
  format: AnswerFormat,
): Promise<Response> {
  const clientGone = new AbortController();
  const gone = AbortSignal.any([c.req.raw.signal, clientGone.signal]);
  const onCancel = () => clientGone.abort(new Error('the client closed the connection'));
  const events = replaceableChoices(c, engine, call, gone);
  const isShared = (engine.underWay ?? 0) > 0;
  const headStartMs = isShared ? SHARED_HEAD_START_MS : call.stream ? HEAD_START_MS : WHOLE_HEAD_START_MS;
  if (!call.stream) {
    return respondWhole(c, events, format, { gone, onCancel, headStartMs, decidesLate: engine.decidesLate });
  }
  // An early failure before the first frame is still an HTTP error; a later one is an event of the stream.
  const started = primed(events, engine.decidesLate ? undefined : headStartMs);
  keepAliveOf(c)(started);
  const { body, finished } = eventStream(format.items(piecesOf(await started, call)), format.stream, {
    onCancel,
    toErrorEvent: (thrown) => (gone.aborted ? undefined : format.error(refused(c, thrown))),
  });
  keepAliveOf(c)(finished);
  return c.body(body, 200, format.stream.headers);
}

/** The choices of a call; those for an editor end when a newer request continues this one. */
async function* replaceableChoices(c: Context, engine: Engine, call: CompletionCall, gone: AbortSignal) {
  const [cursor, ...others] = call.prompts;
  if (call.editor === undefined || cursor === undefined || others.length > 0) {
    return yield* generateChoices(engine, call, gone);
  }
  const { signal, end } = replaceable(c, engine.model.id, cursor);
  try {
    yield* generateChoices(engine, call, AbortSignal.any([gone, signal]));
  } finally {
    end();
  }
}

interface WholeAnswerOptions {
  gone: AbortSignal;
  onCancel: () => void;
  headStartMs: number;
  decidesLate: boolean | undefined;
}

/** Sends an early answer with its own status and length. Of a later answer the head is sent first, with status 200. */
async function respondWhole(
  c: Context,
  events: AsyncIterable<ChoiceEvent>,
  format: AnswerFormat,
  { gone, onCancel, headStartMs, decidesLate }: WholeAnswerOptions,
): Promise<Response> {
  // An engine reports a faulty request and a full queue at once, before its first step.
  const decided = Promise.withResolvers<void>();
  if (!decidesLate) decided.resolve();
  let tick = () => decided.resolve();
  const answer = finishedChoices(events, () => tick()).then((choices) => format.whole(choices));
  keepAliveOf(c)(answer);
  const soon = await Promise.race([answer, lateAfter(headStartMs, decided.promise, answer)]);
  if (soon !== 'late') return c.json(soon);
  // Some clients repeat a request whose answer breaks off; they must not repeat one that they have replaced.
  const orReplaced = answer.catch((thrown) => {
    if (asReplaced(thrown) === undefined) throw thrown;
    return format.error(refused(c, thrown));
  });
  const late = lateJson(
    orReplaced.then((json) => JSON.stringify(json)),
    {
      intervalMs: BLANKS_MS,
      onCancel,
      onError: (thrown) => {
        if (!gone.aborted) refused(c, thrown);
      },
    },
  );
  tick = late.tick;
  return c.body(watchedBody(c, late.body), 200, LATE_JSON_HEADERS);
}

/** What the client may know of an error behind the head of its answer; noted for the log. */
function refused(c: Context, thrown: unknown): ApiError {
  const error = toApiError(thrown, c.get('requestId'));
  c.get('observation')?.refused(error.code);
  return error;
}

/** Resolves when `ms` milliseconds have passed and `decided` has, unless the answer is there before. */
async function lateAfter(ms: number, decided: Promise<void>, answer: Promise<unknown>): Promise<'late'> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const passed = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  const settled = answer.then(
    () => {},
    () => {},
  );
  await Promise.race([settled, Promise.all([passed, decided])]);
  clearTimeout(timer);
  return 'late';
}

/** @param onStep is called at each step and at the end of each choice */
async function finishedChoices(events: AsyncIterable<ChoiceEvent>, onStep: () => void): Promise<FinishedChoice[]> {
  const choices: FinishedChoice[] = [];
  for await (const event of events) {
    if (event.type === 'end') choices.push(event);
    onStep();
  }
  return choices;
}

/** Waits for the first item, `ms` milliseconds at most, and returns the same items. */
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
