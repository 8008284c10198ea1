/** Server-sent events as OpenAI's clients read them: https://html.spec.whatwg.org/multipage/server-sent-events.html */

/** Headers of an event stream; without `no-cache` and `no-transform` a proxy may hold frames back. */
export const EVENT_STREAM_HEADERS = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-cache, no-transform',
};

const DONE = 'data: [DONE]\n\n';

interface EventStreamOptions {
  /** Called when the reader goes away before the end. */
  onCancel: () => void;
  /** The last event of a stream that fails; undefined when nobody is there to read it. */
  toErrorEvent: (error: unknown) => object | undefined;
}

/**
 * Writes each item as one `data:` event, then `[DONE]`.
 *
 * The items are drawn as fast as they come and not as fast as they are read: the source holds the engine, and a reader
 * that stalls must not hold it with it. The queue stays small because a completion has a bounded number of frames.
 * @returns the body, and a promise that settles when the source has ended.
 */
export function eventStream(
  items: AsyncIterable<object>,
  { onCancel, toErrorEvent }: EventStreamOptions,
): { body: ReadableStream<Uint8Array>; finished: Promise<void> } {
  const encoder = new TextEncoder();
  const { promise: finished, resolve: finish } = Promise.withResolvers<void>();
  let cancelled = false;

  async function pump(controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
    const write = (event: string) => {
      if (!cancelled) controller.enqueue(encoder.encode(event));
    };
    try {
      for await (const item of items) write(toEvent(item));
      write(DONE);
    } catch (error) {
      const last = toErrorEvent(error);
      if (last !== undefined) write(toEvent(last));
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

function toEvent(item: object): string {
  return `data: ${JSON.stringify(item)}\n\n`;
}
