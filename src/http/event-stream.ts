/**
 * Streams of JSON objects: server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html), or
 * lines.
 */

/** Headers of an event stream; without `no-cache` and `no-transform` a proxy may hold frames back. */
export const EVENT_STREAM_HEADERS = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-cache, no-transform',
};

/** How the items of a stream are written. */
export interface StreamFormat {
  headers: Record<string, string>;
  item(item: object): string;
  /** Written after the last item. */
  end: string;
  /** Written while there is no item; ignored by clients. */
  alive?: string;
}

/**
 * Silence in a stream after which a comment is sent. The interval is short because the runtime notices only on a write
 * that a client has disconnected, and a client that types disconnects at its next key.
 */
const SILENCE_MS = 50;

const dataEvent = (item: object) => `data: ${JSON.stringify(item)}\n\n`;

/** A comment without text: some clients take one with a certain text for the end. */
const COMMENT = ':\n\n';

/** What OpenAI's clients read. */
export const OPENAI_EVENTS: StreamFormat = {
  headers: EVENT_STREAM_HEADERS,
  item: dataEvent,
  end: 'data: [DONE]\n\n',
  alive: COMMENT,
};

/** Events only, as llama.cpp sends them: its last item says that it is the last. */
export const PLAIN_EVENTS: StreamFormat = {
  headers: EVENT_STREAM_HEADERS,
  item: dataEvent,
  end: '',
  alive: COMMENT,
};

/** An object a line, as Ollama sends them: https://github.com/ndjson/ndjson-spec; white space may precede it. */
export const JSON_LINES: StreamFormat = {
  headers: { ...EVENT_STREAM_HEADERS, 'content-type': 'application/x-ndjson' },
  item: (item) => `${JSON.stringify(item)}\n`,
  end: '',
  alive: ' ',
};

interface EventStreamOptions {
  /** Called when the reader disconnects before the end. */
  onCancel: () => void;
  /** The last event of a stream that fails; undefined when there is no reader any more. */
  toErrorEvent: (error: unknown) => object | undefined;
}

/**
 * Writes each item in the format, then the format's end, and comments while there is no item.
 *
 * Items are read from the source as fast as they come, not as fast as the client reads: the source occupies the engine,
 * and a slow reader must not block it. The queue stays small because a completion has a limited number of frames.
 * @returns the body, and a promise that settles when the source has ended.
 */
export function eventStream(
  items: AsyncIterable<object>,
  format: StreamFormat,
  { onCancel, toErrorEvent }: EventStreamOptions,
): { body: ReadableStream<Uint8Array>; finished: Promise<void> } {
  const encoder = new TextEncoder();
  const { promise: finished, resolve: finish } = Promise.withResolvers<void>();
  let cancelled = false;

  async function pump(controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
    let writtenMs = performance.now();
    const write = (event: string) => {
      writtenMs = performance.now();
      if (!cancelled) controller.enqueue(encoder.encode(event));
    };
    const keepAlive = setInterval(() => {
      if (format.alive !== undefined && performance.now() - writtenMs >= SILENCE_MS) write(format.alive);
    }, SILENCE_MS);
    try {
      for await (const item of items) write(format.item(item));
      if (format.end !== '') write(format.end);
    } catch (error) {
      const last = toErrorEvent(error);
      if (last !== undefined) write(format.item(last));
    } finally {
      clearInterval(keepAlive);
    }
    if (!cancelled) controller.close();
  }

  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      void pump(controller).finally(finish);
    },
    cancel() {
      cancelled = true;
      onCancel();
    },
  });
  return { body, finished };
}
