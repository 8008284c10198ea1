/**
 * JSON answers that take long: the head and white space are sent while the answer is computed, because plain workerd
 * notices only on a write that the client has disconnected. White space before JSON has no meaning (RFC 8259, section
 * 2); DeepSeek's API does the same: https://api-docs.deepseek.com/quick_start/rate_limit
 */

/**
 * Without an encoding: a server that compresses answers, as that of `npm start` does, holds blanks back, so that no
 * write reaches the client.
 */
export const LATE_JSON_HEADERS = {
  'content-type': 'application/json',
  'content-encoding': 'identity',
  'cache-control': 'no-transform',
};

/** Not a line end: Vim reads the output of a job line by line. */
const WHITE_SPACE = ' ';

interface LateJsonOptions {
  /** White space is written in this interval too, in milliseconds; only by `tick` when absent. */
  intervalMs?: number;
  /** Called when the reader disconnects before the end. */
  onCancel: () => void;
  /** Called with what `answer` throws while somebody reads. */
  onError: (error: unknown) => void;
}

/** A JSON body that is being sent. */
export interface LateJson {
  body: ReadableStream<Uint8Array>;
  /** Writes white space; nothing once the answer is there. */
  tick(): void;
}

/**
 * The body of an answer that is not complete yet. Its status has been sent, so a failure breaks the connection: the
 * client must not mistake a part for the whole answer, or an error for an answer.
 * @param answer its JSON text
 */
export function lateJson(
  answer: Promise<string | Uint8Array>,
  { intervalMs, onCancel, onError }: LateJsonOptions,
): LateJson {
  const encoder = new TextEncoder();
  let sink: ReadableStreamDefaultController<Uint8Array> | undefined;
  let timer: ReturnType<typeof setInterval> | undefined;
  const write = (part: string | Uint8Array) => sink?.enqueue(typeof part === 'string' ? encoder.encode(part) : part);
  const end = () => {
    clearInterval(timer);
    sink = undefined;
  };

  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      sink = controller;
      write(WHITE_SPACE);
      if (intervalMs !== undefined) timer = setInterval(() => write(WHITE_SPACE), intervalMs);
      const finish = (json: string | Uint8Array) => {
        write(json);
        sink?.close();
        end();
      };
      const breakOff = (error: unknown) => {
        if (sink === undefined) return;
        onError(error);
        sink.error(error);
        end();
      };
      answer.then(finish).catch(breakOff);
    },
    cancel() {
      end();
      onCancel();
    },
  });
  return { body, tick: () => write(WHITE_SPACE) };
}
