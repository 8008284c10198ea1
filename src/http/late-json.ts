/**
 * JSON answers that take their time: the head and white space go out while the answer is still being made, for only
 * by writing plain workerd notices that the client has gone. White space before JSON has no meaning (RFC 8259, section
 * 2), and DeepSeek's API answers so as well: https://api-docs.deepseek.com/quick_start/rate_limit
 */

/** Not a line end: Vim hands the output of a job over line by line. */
const WHITE_SPACE = ' ';

interface LateJsonOptions {
  /** Called when the reader goes away before the end. */
  onCancel: () => void;
  /** Called with what `answer` throws while somebody reads. */
  onError: (error: unknown) => void;
}

/** A JSON body that is under way. */
export interface LateJson {
  body: ReadableStream<Uint8Array>;
  /** Writes white space; nothing once the answer is there. */
  tick(): void;
}

/**
 * The body of an answer that is not complete yet. Its status has been sent, so a failure breaks the connection off: the
 * client must take neither a part of an answer for the whole, nor an error for an answer.
 */
export function lateJson(answer: Promise<object>, { onCancel, onError }: LateJsonOptions): LateJson {
  const encoder = new TextEncoder();
  let sink: ReadableStreamDefaultController<Uint8Array> | undefined;
  const write = (text: string) => sink?.enqueue(encoder.encode(text));

  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      sink = controller;
      write(WHITE_SPACE);
      const finish = (json: object) => {
        write(JSON.stringify(json));
        sink?.close();
        sink = undefined;
      };
      const breakOff = (error: unknown) => {
        if (sink === undefined) return;
        onError(error);
        sink.error(error);
        sink = undefined;
      };
      answer.then(finish).catch(breakOff);
    },
    cancel() {
      sink = undefined;
      onCancel();
    },
  });
  return { body, tick: () => write(WHITE_SPACE) };
}
