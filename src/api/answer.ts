/** Answers a completion call, whole or as a stream, in the shape that a dialect gives to its choices. */
import type { Context } from 'hono';
import type { KeepAlive, ModelProvider } from '../engine/provider.ts';
import type { Completion, Engine } from '../engine/types.ts';
import { observed } from '../middleware/observed-engine.ts';
import { type ChoiceEvent, type CompletionCall, generateChoices } from './completion.ts';
import { ApiError, toApiError } from './errors.ts';
import { EVENT_STREAM_HEADERS, eventStream } from './event-stream.ts';
import { usageOf } from './usage.ts';

type FinishReason = Completion['finishReason'] | null;

/** What one dialect makes of a choice: of a finished one, and of one chunk of a stream. */
export interface ChoiceShape {
  whole(index: number, text: string, finishReason: FinishReason): object;
  chunk(index: number, text: string, finishReason: FinishReason): object;
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
 * Runs the call and answers it. The engine is aborted when the client goes away: the request's signal says so, or the
 * stream is cancelled. Where workerd serves by itself it notices a closed connection only when it writes to it, so there
 * a whole answer is computed to its end and only a stream is cut short.
 */
export async function answer(c: Context, engine: Engine, call: CompletionCall, shape: ChoiceShape): Promise<Response> {
  const clientGone = new AbortController();
  const signal = AbortSignal.any([c.req.raw.signal, clientGone.signal]);
  const header = {
    id: `cmpl-${crypto.randomUUID()}`,
    object: 'text_completion',
    created: Math.floor(Date.now() / 1000),
    model: engine.model.id,
  };
  const events = generateChoices(engine, call, signal);
  if (!call.stream) {
    const finished = collect(events, call, shape);
    keepAliveOf(c)(finished);
    return c.json({ ...header, ...(await finished) });
  }
  // A failure before the first frame is still an HTTP error; after it, an event of the stream.
  const started = primed(events);
  keepAliveOf(c)(started);
  const chunks = toChunks(await started, call, shape);
  const { body, finished } = eventStream(withHeader(header, chunks), {
    onCancel: () => clientGone.abort(new Error('the client closed the stream')),
    toErrorEvent: (error) => (signal.aborted ? undefined : toApiError(error, c.get('requestId')).toBody()),
  });
  keepAliveOf(c)(finished);
  return c.body(body, 200, EVENT_STREAM_HEADERS);
}

async function collect(events: AsyncIterable<ChoiceEvent>, call: CompletionCall, shape: ChoiceShape): Promise<object> {
  const choices: object[] = [];
  const completions: Completion[] = [];
  for await (const event of events) {
    if (event.type === 'frame') continue;
    const { index, prompt, completion } = event;
    completions.push(completion);
    choices.push(shape.whole(index, (call.echo ? prompt : '') + completion.text, completion.finishReason));
  }
  return { choices, usage: usageOf(completions, call.n) };
}

/** Waits for the first item, and gives back the same items. */
async function primed<T>(items: AsyncGenerator<T, void>): Promise<AsyncGenerator<T, void>> {
  const first = await items.next();
  return (async function* () {
    if (first.done) return;
    yield first.value;
    yield* items;
  })();
}

/** Chunks carry what was gained since the last one of their choice or, with `diffusing`, the whole text. */
async function* toChunks(
  events: AsyncIterable<ChoiceEvent>,
  call: CompletionCall,
  shape: ChoiceShape,
): AsyncGenerator<object, void> {
  const usage = call.includeUsage ? { usage: null } : {};
  const completions: Completion[] = [];
  let sent = '';
  for await (const event of events) {
    const lead = call.echo ? event.prompt : '';
    if (event.type === 'end') {
      const { text, finishReason } = event.completion;
      const last = call.diffusing ? lead + text : gained(sent, lead + text);
      yield { choices: [shape.chunk(event.index, last, finishReason)], ...usage };
      completions.push(event.completion);
      sent = '';
    } else if (call.diffusing) {
      yield { choices: [shape.chunk(event.index, lead + event.frame.text, null)], ...usage };
    } else {
      const delta = gained(sent, lead + event.frame.settled);
      if (delta === '') continue;
      yield { choices: [shape.chunk(event.index, delta, null)], ...usage };
      sent += delta;
    }
  }
  if (call.includeUsage) yield { choices: [], usage: usageOf(completions, call.n) };
}

function gained(sent: string, settled: string): string {
  if (!settled.startsWith(sent)) throw new Error('text that was settled has changed');
  return settled.slice(sent.length);
}

async function* withHeader(header: object, chunks: AsyncIterable<object>): AsyncGenerator<object, void> {
  for await (const chunk of chunks) yield { ...header, ...chunk };
}

function keepAliveOf(c: Context): KeepAlive {
  return (work) => {
    const settled = work.then(
      () => undefined,
      () => undefined,
    );
    executionContextOf(c)?.waitUntil(settled);
  };
}

/** Outside the Workers runtime there is no execution context, and Hono's getter throws. */
function executionContextOf(c: Context): Context['executionCtx'] | undefined {
  try {
    return c.executionCtx;
  } catch {
    return undefined;
  }
}
