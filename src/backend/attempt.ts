/** One request to one backend, with its clocks and bounds. */
import { ApiError } from '../http/errors.ts';
import { concat } from './bytes.ts';
import { BackendFailure, type FailureKind, toClientError } from './errors.ts';
import { withoutMembers, withValue } from './json-text.ts';
import { type Refusal, refusalInAnswer, refusalOf } from './refusal.ts';
import { type ChunkTranslation, relay, type StreamEnding } from './relay.ts';
import { retryAfterMs } from './retry.ts';
import type { Target } from './routing.ts';
import { type StreamEvent, StreamEvents } from './stream-events.ts';
import { type TokenUsage, tokenUsageOf } from './token-usage.ts';

/** Enough for a backend that quotes a whole file before it names the error; the rest is not read. */
const MAX_REFUSAL_BYTES = 64 * 1024;

const SUFFIX: ReadonlySet<string> = new Set(['suffix']);

/** A request as the client sent it. */
export interface Call {
  /** The model it names. */
  model: string;
  /** Its body, a JSON object. */
  text: string;
  stream: boolean;
  /** Top-level fields that are no backend's business. */
  withheld?: ReadonlySet<string>;
  /** Makes the answer one of the client's dialect; without it every byte is the backend's. */
  translation?: () => Translation;
}

/** The result of one answer. */
export interface Translation extends ChunkTranslation {
  /** The JSON text of a whole answer. */
  whole(json: string): string;
}

/** A successful answer: either complete, or a stream whose first text has arrived. */
export interface Answer {
  contentType: string;
  body: Uint8Array | ReadableStream<Uint8Array>;
  /** For a complete answer, if the backend reports it; for a stream it is known at its end. */
  usage?: TokenUsage | undefined;
}

export interface AttemptOptions {
  fetch: (url: string, init: RequestInit) => Promise<Response>;
  /** The client; its abort reaches the backend. */
  signal: AbortSignal;
  /** When a stream must have begun, and when all must be done, in Unix milliseconds. */
  openByMs: number;
  deadlineMs: number;
  /** Whether the deadline is that of the request and not one of the backend's settings. */
  isRequestBound: boolean;
  /** A stream that had begun has ended. */
  onStreamEnd: (ending: StreamEnding) => void;
}

/**
 * Sends the call. The request is built from scratch, so that only the client's body is sent on. Status 200 alone is not
 * a success: a whole answer is read to its end, and a stream up to its first text.
 * @throws BackendFailure when the backend fails; the client's abort reason when it has disconnected.
 */
export async function attempt(target: Target, call: Call, options: AttemptOptions): Promise<Answer> {
  const { backend } = target;
  const failure = (kind: FailureKind, what: string) => new BackendFailure(backend.name, kind, what);
  const cut = new AbortController();
  const cutAfter = (ms: number, what: string, isOurLimit = false) => {
    const late = () =>
      new BackendFailure(backend.name, 'timeout', `sent no ${what} in ${Math.round(ms)} ms`, { isOurLimit });
    return setTimeout(() => cut.abort(late()), Math.max(0, ms));
  };
  const leftMs = (untilMs: number) => untilMs - Date.now();
  const firstByte = cutAfter(Math.min(backend.first_byte_timeout_ms, leftMs(options.openByMs)), 'first byte');
  const total = call.stream
    ? cutAfter(leftMs(options.deadlineMs), 'end', options.isRequestBound)
    : cutAfter(leftMs(options.openByMs), 'end');
  const stop = () => {
    clearTimeout(firstByte);
    clearTimeout(total);
  };
  /** What broke a read: the client, one of our clocks, or else the connection. */
  const toError = (error: unknown): unknown => {
    if (options.signal.aborted) return options.signal.reason;
    if (cut.signal.aborted) return cut.signal.reason;
    if (error instanceof BackendFailure) return error;
    return new BackendFailure(backend.name, 'unreachable', `the connection failed: ${reasonOf(error)}`, {
      cause: error,
    });
  };

  try {
    const response = await options.fetch(backend.base_url + target.path, {
      method: 'POST',
      headers: requestHeaders(backend.key, call.stream),
      body: bodyFor(target, call),
      // A redirect would send the key to another address.
      redirect: 'manual',
      signal: AbortSignal.any([options.signal, cut.signal]),
    });
    if (!response.ok) throw await httpRefusal(target, response);
    const refused = (refusal: Refusal) =>
      refusalFailure(target, `said ${refusal.status} with status ${response.status}`, refusal, response.headers);
    const { contentType, isStream } = checkedType(backend.name, response, call.stream);
    if (response.body === null) throw failure('bad_answer', 'sent no body');
    const reader = response.body.getReader();
    const translation = call.translation?.();
    if (!isStream) {
      clearTimeout(firstByte);
      const body = await readAll(reader, backend.max_response_bytes, failure);
      const { text, value } = parsedAnswer(backend.name, body);
      const refusal = refusalInAnswer(value);
      if (refusal !== undefined) throw refused(refusal);
      if (call.stream) throw failure('bad_answer', `answered a stream with ${contentType}`);
      if (!hasChoices(value)) throw failure('bad_answer', 'sent an answer without choices');
      stop();
      const translated = translation?.whole(text) ?? text;
      return {
        contentType,
        body: translated === text ? body : new TextEncoder().encode(translated),
        usage: tokenUsageOf(value),
      };
    }
    const events = new StreamEvents(reader, backend.max_response_bytes, failure);
    const toFailure = ({ refusal }: StreamEvent) => refused(refusal ?? { status: 500 });
    const opening = await openingOf(events, failure, toFailure);
    clearTimeout(firstByte);
    const body = relay(events, opening, {
      keepAliveMs: backend.keep_alive_ms,
      idleMs: backend.idle_timeout_ms,
      failure,
      toFailure,
      toErrorBody: (error) => {
        const reason = toError(error);
        return reason instanceof ApiError ? reason.toBody() : toClientError(asFailure(backend.name, reason)).body;
      },
      translation,
      onEnd: (ending) => {
        stop();
        const final = ending.type === 'broken' ? { ...ending, error: toError(ending.error) } : ending;
        if (ending.type !== 'completed') cut.abort(new Error('the stream was given up'));
        options.onStreamEnd(final);
      },
    });
    return { contentType, body };
  } catch (error) {
    const reason = toError(error);
    stop();
    cut.abort(reason);
    throw reason;
  }
}

/**
 * Reads a stream up to its first text: until then the client has received nothing, and another attempt is possible.
 * @throws BackendFailure for a stream that ends or fails before.
 */
async function openingOf(
  events: StreamEvents,
  failure: (kind: FailureKind, what: string) => BackendFailure,
  toFailure: (event: StreamEvent) => BackendFailure,
): Promise<StreamEvent[]> {
  const opening: StreamEvent[] = [];
  for (;;) {
    const event = await events.next();
    if (event?.kind === 'failure') throw toFailure(event);
    if (event === undefined || event.kind === 'end') {
      const hasBegun = opening.some(({ kind }) => kind === 'opening');
      if (!hasBegun) throw failure('bad_answer', 'sent an empty stream');
      // With an end an answer may be empty; without one it was cut before its first text.
      if (event === undefined) throw failure('unreachable', 'ended before its answer began');
    }
    opening.push(event);
    if (event.kind === 'content' || event.kind === 'end') return opening;
  }
}

/** Node wraps the error of a socket in one that only says that fetch failed. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? error.cause.message : error.message;
}

function requestHeaders(key: string | undefined, stream: boolean): Record<string, string> {
  return {
    'content-type': 'application/json',
    accept: stream ? 'text/event-stream' : 'application/json',
    // A compressed stream would arrive in blocks, with a delay.
    'accept-encoding': 'identity',
    'user-agent': 'quicksilver',
    ...(key !== undefined && { authorization: `Bearer ${key}` }),
  };
}

function bodyFor(target: Target, { model, text, withheld }: Call): string {
  const named = target.model === model ? text : withValue(text, 'model', target.model);
  if (withheld === undefined) return named;
  // A backend that cannot fill in the middle only gets requests whose suffix is empty. Some engines read that as one.
  return withoutMembers(named, target.backend.infill ? withheld : withheld.union(SUFFIX));
}

function asFailure(backend: string, error: unknown): BackendFailure {
  if (error instanceof BackendFailure) return error;
  // Not the backend and not its connection: the service's own limit on the request, whose reason is not a failure.
  return new BackendFailure(backend, 'timeout', 'was given no more time', { cause: error });
}

/** A stream may be refused with JSON and status 200, which is then read for its reason. */
function checkedType(
  backend: string,
  { headers }: Response,
  stream: boolean,
): { contentType: string; isStream: boolean } {
  const contentType = headers.get('content-type') ?? 'no content type';
  if (stream && /^text\/event-stream\s*(;|$)/i.test(contentType)) return { contentType, isStream: true };
  if (/^application\/([\w.-]+\+)?json\s*(;|$)/i.test(contentType)) return { contentType, isStream: false };
  throw new BackendFailure(backend, 'bad_answer', `answered with ${contentType}`);
}

function parsedAnswer(backend: string, body: Uint8Array): { text: string; value: unknown } {
  try {
    const text = new TextDecoder().decode(body);
    return { text, value: JSON.parse(text) };
  } catch (cause) {
    throw new BackendFailure(backend, 'bad_answer', 'sent no valid JSON', { cause });
  }
}

/** What every operation answers with. */
function hasChoices(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'choices' in value && Array.isArray(value.choices);
}

async function readAll(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  maxBytes: number,
  failure: (kind: 'too_large', what: string) => Error,
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for (let read = await reader.read(); !read.done; read = await reader.read()) {
    length += read.value.length;
    if (length > maxBytes) throw failure('too_large', `sent more than ${maxBytes} bytes`);
    chunks.push(read.value);
  }
  return concat(chunks);
}

/** The failure for an HTTP status. */
async function httpRefusal(target: Target, response: Response): Promise<BackendFailure> {
  const { status, headers } = response;
  if (status >= 300 && status < 400) {
    return new BackendFailure(target.backend.name, 'bad_answer', `redirects with ${status}`);
  }
  const refusal = refusalOf(status, await beginningOf(response), headers.get('content-type') ?? '');
  return refusalFailure(target, `answered ${status}`, refusal, headers);
}

/** The words of a refusal may name our key, as those of several services do. */
function refusalFailure(
  { backend: { name, key } }: Target,
  what: string,
  { status, message, ...names }: Refusal,
  headers: Headers,
): BackendFailure {
  const cleaned = (text: string) => (key === undefined ? text : text.replaceAll(key, '***'));
  const detail = message === undefined ? undefined : cleaned(message);
  const { type, code, param } = names;
  const after = retryAfterMs(headers, Date.now());
  const shouldRetry = { true: true, false: false }[headers.get('x-should-retry') ?? ''];
  const failure = new BackendFailure(name, 'refused', what, {
    status,
    ...(after !== undefined && { retryAfterMs: after }),
    ...(detail !== undefined && { detail }),
    ...(type !== undefined && { type: cleaned(type) }),
    ...(code !== undefined && { code: cleaned(code) }),
    ...(param !== undefined && { param: cleaned(param) }),
    ...(shouldRetry !== undefined && { shouldRetry }),
  });
  // The operator has to know what is wrong with the key or the bill. Other reasons may quote the prompt, which belongs
  // in no log.
  const isForOperator = [401, 402, 403].includes(status) || failure.isSpentQuota;
  if (isForOperator && failure.detail !== undefined) failure.message += `: ${failure.detail}`;
  return failure;
}

/** The beginning of a body as text, as much as arrives: a refusal without a readable reason is still a refusal. */
async function beginningOf({ body }: Response): Promise<string> {
  if (body === null) return '';
  const reader = body.getReader();
  const chunks: Uint8Array[] = [];
  let length = 0;
  try {
    for (let read = await reader.read(); !read.done; read = await reader.read()) {
      chunks.push(read.value);
      length += read.value.length;
      if (length >= MAX_REFUSAL_BYTES) break;
    }
  } catch {
    // The part that has arrived is used.
  }
  reader.cancel().catch(() => undefined);
  return new TextDecoder().decode(concat(chunks));
}
