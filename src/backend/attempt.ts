/** One request to one backend, with its clocks and bounds. */
import { concat } from './bytes.ts';
import { BackendFailure, toClientError } from './errors.ts';
import { retryAfterMs } from './retry.ts';
import type { Target } from './routing.ts';
import { type RelayOptions, relay } from './sse.ts';

/** Enough for an error message; the rest of a long refusal is not read. */
const MAX_REFUSAL_BYTES = 16 * 1024;

/** A request as the client sent it. */
export interface Call {
  /** The model it names. */
  model: string;
  /** Its body, a JSON object. */
  text: string;
  stream: boolean;
}

/** A successful answer: either whole, or a stream whose first bytes are there. */
export interface Answer {
  contentType: string;
  body: Uint8Array | ReadableStream<Uint8Array>;
}

export interface AttemptOptions {
  fetch: (url: string, init: RequestInit) => Promise<Response>;
  /** The client; its abort reaches the backend. */
  signal: AbortSignal;
  /** When the backend must be done, in Unix milliseconds. */
  deadlineMs: number;
  /** A stream ended after its first byte. */
  onStreamEnd: RelayOptions['onEnd'];
}

/**
 * Sends the call. The request is made anew, so nothing of the client's goes along but its body.
 * @throws BackendFailure when the backend fails; the client's abort reason when it has gone.
 */
export async function attempt(target: Target, call: Call, options: AttemptOptions): Promise<Answer> {
  const { backend } = target;
  const failure: RelayOptions['failure'] = (kind, what) => new BackendFailure(backend.name, kind, what);
  const cut = new AbortController();
  const cutAfter = (ms: number, what: string) =>
    setTimeout(() => cut.abort(failure('timeout', `sent no ${what} in ${Math.round(ms)} ms`)), Math.max(0, ms));
  const firstByte = cutAfter(backend.first_byte_timeout_ms, 'first byte');
  const total = cutAfter(options.deadlineMs - Date.now(), 'end');
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
      body: target.model === call.model ? call.text : renamed(call.text, target.model),
      // A redirect would carry the key to whatever it names.
      redirect: 'manual',
      signal: AbortSignal.any([options.signal, cut.signal]),
    });
    if (!response.ok) throw await refusal(backend.name, backend.key, response);
    const contentType = checkedType(backend.name, response, call.stream);
    if (response.body === null) throw new BackendFailure(backend.name, 'bad_answer', 'sent no body');
    const reader = response.body.getReader();
    if (!call.stream) {
      clearTimeout(firstByte);
      const body = await readAll(reader, backend.max_response_bytes, failure);
      checkJson(backend.name, body);
      stop();
      return { contentType, body };
    }
    const first = await reader.read();
    clearTimeout(firstByte);
    if (first.done) throw new BackendFailure(backend.name, 'bad_answer', 'sent an empty stream');
    const body = relay(reader, first, {
      keepAliveMs: backend.keep_alive_ms,
      idleMs: backend.idle_timeout_ms,
      maxBytes: backend.max_response_bytes,
      failure,
      toErrorBody: (error) => toClientError(asFailure(backend.name, toError(error))).body,
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

/** Node wraps the error of a socket in one that only says that fetch failed. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? error.cause.message : error.message;
}

function requestHeaders(key: string | undefined, stream: boolean): Record<string, string> {
  return {
    'content-type': 'application/json',
    accept: stream ? 'text/event-stream' : 'application/json',
    // A compressed stream comes in blocks, not as it is made.
    'accept-encoding': 'identity',
    'user-agent': 'quicksilver',
    ...(key !== undefined && { authorization: `Bearer ${key}` }),
  };
}

function renamed(text: string, model: string): string {
  return JSON.stringify({ ...(JSON.parse(text) as object), model });
}

function asFailure(backend: string, error: unknown): BackendFailure {
  if (error instanceof BackendFailure) return error;
  // Not the backend and not its connection: the service's own limit on the request, whose reason is not a failure.
  return new BackendFailure(backend, 'timeout', 'was given no more time', { cause: error });
}

function checkedType(backend: string, { headers }: Response, stream: boolean): string {
  const contentType = headers.get('content-type') ?? 'no content type';
  const isExpected = stream ? /^text\/event-stream\s*(;|$)/i : /^application\/([\w.-]+\+)?json\s*(;|$)/i;
  if (!isExpected.test(contentType)) throw new BackendFailure(backend, 'bad_answer', `answered with ${contentType}`);
  return contentType;
}

function checkJson(backend: string, body: Uint8Array): void {
  try {
    JSON.parse(new TextDecoder().decode(body));
  } catch (cause) {
    throw new BackendFailure(backend, 'bad_answer', 'sent no valid JSON', { cause });
  }
}

async function readAll(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  maxBytes: number,
  failure: RelayOptions['failure'],
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

/** The failure that an HTTP error stands for. Its words may name our key, as those of several services do. */
async function refusal(backend: string, key: string | undefined, response: Response): Promise<BackendFailure> {
  const { status, headers } = response;
  if (status >= 300 && status < 400) return new BackendFailure(backend, 'bad_answer', `redirects with ${status}`);
  const said = await refusalMessage(response);
  const detail = key === undefined ? said : said?.replaceAll(key, '***');
  const after = retryAfterMs(headers, Date.now());
  // The operator has to know what is wrong with the key. Other reasons may quote the prompt, which belongs in no log.
  const why = [401, 402, 403].includes(status) && detail !== undefined ? `: ${detail}` : '';
  return new BackendFailure(backend, 'refused', `answered ${status}${why}`, {
    status,
    ...(after !== undefined && { retryAfterMs: after }),
    ...(detail !== undefined && { detail }),
  });
}

/** The message of an error body in one of the shapes in use: `{error: {message}}`, `{error}`, `{message}`, `{detail}`. */
async function refusalMessage({ body }: Response): Promise<string | undefined> {
  if (body === null) return undefined;
  try {
    const bytes = await readAll(body.getReader(), MAX_REFUSAL_BYTES, (_, what) => new Error(what));
    const parsed = JSON.parse(new TextDecoder().decode(bytes)) as Record<string, unknown> | null;
    const error = parsed?.error as Record<string, unknown> | undefined;
    const message = [error?.message, error, parsed?.message, parsed?.detail].find((text) => typeof text === 'string');
    return message as string | undefined;
  } catch {
    // A refusal without a readable reason is one all the same.
    return undefined;
  }
}
