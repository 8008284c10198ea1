/**
 * Answers of slow backends. Failures usually come early and then have their own status. A client that waits longer gets
 * the head of its answer, and comments or white space until there is text: the runtime notices only on a write that the
 * client has disconnected, and nothing should wait or compute for such a client.
 */
import type { Context } from 'hono';
import type { Call } from '../../backend/attempt.ts';
import { KEEP_ALIVE } from '../../backend/relay.ts';
import type { Route } from '../../backend/routing.ts';
import { EVENT_STREAM_HEADERS } from '../../http/event-stream.ts';
import { keepAliveOf } from '../../http/keep-alive.ts';
import { LATE_JSON_HEADERS, lateJson } from '../../http/late-json.ts';
import { watchedBody } from '../../middleware/body-end.ts';
import { asReplaced } from '../completion/open-requests.ts';
import { toApiError } from '../errors.ts';
import { nameRoute } from './forwarding.ts';

/** Enough for several refusals and retries, and shorter than the time limits of proxies. */
const HEAD_START_MS = 3_000;

/** Longer, because a whole answer that fails after its head can only break off: its status has been sent. */
const WHOLE_HEAD_START_MS = 5_000;

/** The pause between two comments, or two blanks. */
const KEEP_ALIVE_MS = 1_000;

/**
 * Answers with the result of `answer`; its head is sent after three seconds at the latest if it is a stream, and after
 * five if it is not.
 * @param answer is given a signal that aborts when the reader of the answer has disconnected
 */
export async function withHeadStart(
  c: Context,
  { chain, reason }: Route,
  { stream }: Call,
  answer: (gone: AbortSignal) => Promise<Response>,
): Promise<Response> {
  const gone = new AbortController();
  const pending = answer(gone.signal);
  const soon = await within(stream ? HEAD_START_MS : WHOLE_HEAD_START_MS, pending);
  if (soon !== 'later') return soon;
  keepAliveOf(c)(pending);
  nameRoute(c, { backend: chain[0]!.backend.name, route: `${reason}; pending` });
  const refused = (thrown: unknown) => {
    const error = toApiError(thrown, c.get('requestId'));
    c.get('observation')?.refused(error.code);
    return error;
  };
  if (!stream) {
    // Some clients repeat a request whose answer breaks off; they must not repeat one that they have replaced.
    const orReplaced = (thrown: unknown) => {
      if (asReplaced(thrown) === undefined) throw thrown;
      return JSON.stringify(refused(thrown).toBody());
    };
    const { body } = lateJson(pending.then((response) => succeeded(response, gone.signal)).catch(orReplaced), {
      intervalMs: KEEP_ALIVE_MS,
      onCancel: () => gone.abort(new Error('the client closed the connection')),
      onError: (thrown) => {
        // A failure of the backend has been observed already.
        if (!(thrown instanceof FailedLate)) refused(thrown);
      },
    });
    return c.body(watchedBody(c, body), 200, LATE_JSON_HEADERS);
  }
  const body = commentsUntil(pending, (thrown) => refused(thrown).toBody());
  return c.body(
    new ReadableStream({
      pull: (controller) => body.pull(controller),
      cancel(reason) {
        gone.abort(reason);
        return body.cancel(reason);
      },
    }),
    200,
    { ...EVENT_STREAM_HEADERS, 'content-type': 'text/event-stream' },
  );
}

/** An answer that came after its head, and is an error. */
class FailedLate extends Error {
  override readonly name = 'FailedLate';
}

/**
 * The bytes of a whole answer, read until its client is gone. Throws FailedLate for an error: sent with status 200, it
 * would pass for an answer.
 */
async function succeeded({ ok, status, body }: Response, gone: AbortSignal): Promise<Uint8Array> {
  if (!ok || body === null) throw new FailedLate(`failed with ${status} after its head`);
  const readable = body.pipeThrough(new TransformStream<Uint8Array, Uint8Array>(), { signal: gone });
  return new Uint8Array(await new Response(readable).arrayBuffer());
}

/** The bytes of an answer that has not arrived: comments first, then its events, or its error as an event. */
function commentsUntil(pending: Promise<Response>, toBody: (error: unknown) => object) {
  const encoder = new TextEncoder();
  let reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  let isLeft = false;

  async function nextBytes(): Promise<{ bytes?: Uint8Array; done: boolean }> {
    if (reader === undefined) {
      const response = await within(KEEP_ALIVE_MS, pending);
      if (response === 'later') return { bytes: encoder.encode(KEEP_ALIVE), done: false };
      const isStream = response.headers.get('content-type')?.startsWith('text/event-stream');
      if (!isStream) return { bytes: encoder.encode(`data: ${await response.text()}\n\n`), done: true };
      reader = response.body!.getReader();
    }
    const { done, value } = await reader.read();
    return { ...(value && { bytes: value }), done };
  }

  return {
    async pull(controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
      const { bytes, done } = await nextBytes().catch((error: unknown) => ({
        bytes: isLeft ? undefined : encoder.encode(`data: ${JSON.stringify(toBody(error))}\n\n`),
        done: true,
      }));
      if (isLeft) return;
      if (bytes) controller.enqueue(bytes);
      if (done) controller.close();
    },
    async cancel(reason: unknown): Promise<void> {
      isLeft = true;
      if (reader) return reader.cancel(reason);
      // It is not read any more, even if it arrives.
      pending.then(({ body }) => body?.cancel(reason)).catch(() => undefined);
    },
  };
}

async function within<T>(ms: number, promise: Promise<T>): Promise<T | 'later'> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const later = new Promise<'later'>((resolve) => {
    timer = setTimeout(resolve, ms, 'later');
  });
  try {
    return await Promise.race([promise, later]);
  } finally {
    clearTimeout(timer);
  }
}
