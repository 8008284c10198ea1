/** Server-sent events passed through: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream */

import { concat } from './bytes.ts';

const CR = 13;
const LF = 10;

/**
 * Cuts a byte stream after its last whole event, without changing a byte. The rest waits for its end, so that whatever
 * is written next (a comment, an error event) stands on its own and never inside half an event.
 */
export class EventFramer {
  /** Joined only when their event ends: an event of many small chunks would otherwise be copied with each of them. */
  #held: Uint8Array[] = [];
  #heldBytes = 0;
  #lineIsEmpty = true;
  #afterCr = false;

  /** Bytes of an event that has not ended. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** Takes a chunk and gives back all bytes that end in a whole event; possibly none. */
  push(chunk: Uint8Array): Uint8Array {
    let end = -1;
    for (let i = 0; i < chunk.length; i++) {
      const byte = chunk[i]!;
      if (byte === LF && this.#afterCr) {
        // The second half of a line end that already counted.
        this.#afterCr = false;
        if (end === i || (i === 0 && this.#lineIsEmpty && this.#heldBytes === 0)) end = i + 1;
        continue;
      }
      this.#afterCr = byte === CR;
      if (byte !== CR && byte !== LF) {
        this.#lineIsEmpty = false;
        continue;
      }
      if (this.#lineIsEmpty) end = i + 1;
      this.#lineIsEmpty = true;
    }
    if (end < 0) {
      this.#hold(chunk);
      return new Uint8Array(0);
    }
    const whole = concat([...this.#held, chunk.subarray(0, end)]);
    this.#held = [];
    this.#heldBytes = 0;
    this.#hold(chunk.subarray(end));
    return whole;
  }

  #hold(chunk: Uint8Array): void {
    if (chunk.length === 0) return;
    this.#held.push(chunk);
    this.#heldBytes += chunk.length;
  }
}

export interface RelayOptions {
  /** Bounds of silence, in milliseconds: the first sends a comment, the second ends the stream. */
  keepAliveMs: number;
  idleMs: number;
  maxBytes: number;
  /** Makes the failures that the relay itself finds. */
  failure(kind: 'unreachable' | 'timeout' | 'too_large', what: string): Error;
  /** The body of the last event of a stream that fails. */
  toErrorBody(error: unknown): object;
  /** Called once: at the end, with the error if the stream broke, or when the reader went away. */
  onEnd(ending: { type: 'completed' } | { type: 'broken'; error: unknown } | { type: 'cancelled' }): void;
}

type Read = Awaited<ReturnType<ReadableStreamDefaultReader<Uint8Array>['read']>>;

/**
 * Passes events on byte for byte, as fast as the client takes them. Comments fill the silence between events, and a
 * failure becomes an event `data: {"error": …}` that ends the stream.
 * @param first the read that has already been done
 */
export function relay(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  first: Read,
  options: RelayOptions,
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  const framer = new EventFramer();
  let reading: Promise<Read> | undefined = Promise.resolve(first);
  let silentSinceMs = Date.now();
  let bytes = 0;
  let ended = false;

  const end: RelayOptions['onEnd'] = (ending) => {
    if (ended) return;
    ended = true;
    options.onEnd(ending);
  };

  /** The next read, or `silence` when a comment is due. A client that reads slowly is no silence of the backend. */
  async function next(): Promise<Read | 'silence'> {
    if (reading === undefined) {
      reading = reader.read();
      silentSinceMs = Date.now();
    }
    const idleLeftMs = silentSinceMs + options.idleMs - Date.now();
    const outcome = await orSilence(reading, Math.max(0, Math.min(options.keepAliveMs, idleLeftMs)));
    if (outcome !== 'silence') reading = undefined;
    else if (idleLeftMs <= options.keepAliveMs) {
      throw options.failure('timeout', `sent nothing for ${options.idleMs} ms`);
    }
    return outcome;
  }

  /** The next bytes to write; undefined at the end. */
  async function nextBytes(): Promise<Uint8Array | undefined> {
    for (;;) {
      const read = await next();
      if (read === 'silence') return encoder.encode(': keep-alive\n\n');
      if (read.done) {
        if (framer.heldBytes > 0) throw options.failure('unreachable', 'ended in the middle of an event');
        return undefined;
      }
      bytes += read.value.length;
      if (bytes > options.maxBytes) throw options.failure('too_large', `sent more than ${options.maxBytes} bytes`);
      const whole = framer.push(read.value);
      if (whole.length > 0) return whole;
    }
  }

  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const whole = await nextBytes();
        if (ended) return;
        if (whole !== undefined) return controller.enqueue(whole);
        end({ type: 'completed' });
      } catch (error) {
        if (ended) return;
        controller.enqueue(encoder.encode(`data: ${JSON.stringify(options.toErrorBody(error))}\n\n`));
        end({ type: 'broken', error });
      }
      controller.close();
    },
    cancel() {
      end({ type: 'cancelled' });
    },
  });
}

async function orSilence<T>(read: Promise<T>, limitMs: number): Promise<T | 'silence'> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const silence = new Promise<'silence'>((resolve) => {
    timer = setTimeout(resolve, limitMs, 'silence');
  });
  try {
    return await Promise.race([read, silence]);
  } finally {
    clearTimeout(timer);
  }
}
