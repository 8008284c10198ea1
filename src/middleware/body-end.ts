/** Notices the end of an answer, which is long after its headers if it is a stream. */
import type { Context } from 'hono';

const STREAM_TYPES = /^(text\/event-stream|application\/x-ndjson)\b/i;

/** How an answer ended: sent completely, cancelled by its reader, or failed in its source. */
export type BodyEnd = 'sent' | 'cancelled' | 'broken';

/** Whether the answer is streamed. */
function isStream(response: Response): boolean {
  return response.body !== null && STREAM_TYPES.test(response.headers.get('content-type') ?? '');
}

declare module 'hono' {
  interface ContextVariableMap {
    /** The end of a body that its handler watches itself; see `watchedBody`. */
    bodyEnd: Promise<BodyEnd> | undefined;
  }
}

/**
 * For a body that takes long to send and whose type is not that of a stream, such as a file: its end is that of the
 * answer. Handlers answer with the returned stream, so that it can still have a fixed length.
 */
export function watchedBody(c: Context, body: ReadableStream<Uint8Array>): ReadableStream<Uint8Array> {
  const end = Promise.withResolvers<BodyEnd>();
  c.set('bodyEnd', end.promise);
  return watched(body, end.resolve);
}

/** Whether what the answer costs is not known when its head is sent. */
export function isUnderWay(c: Context): boolean {
  return isStream(c.res) || (c.get('bodyEnd') !== undefined && c.res.body !== null);
}

/**
 * Calls `ended` once: at the end of a stream or a watched body, and right away for any other answer. To be used after
 * `next()`.
 */
export function onBodyEnd(c: Context, ended: (how: BodyEnd) => void): void {
  const watchedEnd = c.get('bodyEnd');
  // An error handler may have put another answer in its place.
  if (watchedEnd !== undefined && c.res.body !== null) void watchedEnd.then(ended);
  else if (isStream(c.res)) c.res = new Response(watched(c.res.body!, ended), c.res);
  else ended('sent');
}

function watched(body: ReadableStream<Uint8Array>, ended: (how: BodyEnd) => void): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  let cancelled = false;
  return new ReadableStream({
    async pull(controller) {
      try {
        const { done, value } = await reader.read();
        // The reader disconnected during this read, so its bytes have no receiver.
        if (cancelled) return;
        if (!done) return controller.enqueue(value);
        controller.close();
        ended('sent');
      } catch (error) {
        if (cancelled) return;
        controller.error(error);
        ended('broken');
      }
    },
    cancel(reason) {
      cancelled = true;
      ended('cancelled');
      return reader.cancel(reason);
    },
  });
}
