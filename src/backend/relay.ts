/**
 * A backend's stream on its way to the client: byte for byte, or as a dialect has it, with a readable end in any case.
 */
import type { StreamEvent, StreamEvents } from './stream-events.ts';
import type { TokenUsage } from './token-usage.ts';

/** How a relayed stream ended: with the error if it broke, or because its reader went away. */
export type StreamEnding = { usage: TokenUsage | undefined } & (
  | { type: 'completed' }
  | { type: 'broken'; error: unknown }
  | { type: 'cancelled' }
);

/** Makes chunks what the client's dialect has for them. */
export interface ChunkTranslation {
  /** The data to send in place of a chunk; undefined sends nothing now. */
  chunk(json: string): string | undefined;
  /** Data of the chunks that are still held back when the stream ends. */
  rest(): string[];
}

export interface RelayOptions {
  /**
   * Bounds in milliseconds: silence towards the client that a comment ends, and of the backend that ends the stream.
   */
  keepAliveMs: number;
  idleMs: number;
  /** Makes the failures that the relay itself finds. */
  failure(kind: 'unreachable' | 'timeout', what: string): Error;
  /** Makes the failure that an event reports. */
  toFailure(event: StreamEvent): Error;
  /** The body of the last event of a stream that fails. */
  toErrorBody(error: unknown): object;
  translation?: ChunkTranslation | undefined;
  /** Called once. */
  onEnd(ending: StreamEnding): void;
}

type Read = StreamEvent | undefined;

/** Written during silence: a comment, which clients ignore. */
export const KEEP_ALIVE = ': keep-alive\n\n';

/**
 * Passes events on as fast as the client reads them. Comments fill the silence between events, and a failure becomes an
 * event `data: {"error": …}` that ends the stream. A stream that ends before its answer does has failed.
 * @param opening events that have been read already
 */
export function relay(
  events: StreamEvents,
  opening: readonly StreamEvent[],
  options: RelayOptions,
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  const { progress } = events;
  const queue = [...opening];
  let reading: Promise<Read> | undefined;
  /** When the current read began, and the silence of the reads before it. */
  let readingSinceMs = 0;
  let silentMs = 0;
  /** When something was last written to the client. */
  let writtenMs = Date.now();
  let ended = false;

  function end(how: { type: 'completed' } | { type: 'broken'; error: unknown } | { type: 'cancelled' }): void {
    if (ended) return;
    ended = true;
    events.cancel();
    options.onEnd({ ...how, usage: progress.usage });
  }

  /** The next event, or `silence` when a comment is due. Time in which a slow client does not read is not silence. */
  async function next(): Promise<Read | 'silence'> {
    const queued = queue.shift();
    if (queued !== undefined) return queued;
    if (reading === undefined) {
      reading = events.next();
      readingSinceMs = Date.now();
    }
    const idleLeftMs = readingSinceMs + options.idleMs - silentMs - Date.now();
    const silenceLeftMs = writtenMs + options.keepAliveMs - Date.now();
    const outcome = await orSilence(reading, Math.max(0, Math.min(silenceLeftMs, idleLeftMs)));
    if (outcome === 'silence') {
      if (idleLeftMs <= silenceLeftMs) throw options.failure('timeout', `sent nothing for ${options.idleMs} ms`);
      return outcome;
    }
    reading = undefined;
    // Engines that have stopped working may still send pings.
    silentMs = outcome?.kind === 'silent' ? silentMs + Date.now() - readingSinceMs : 0;
    return outcome;
  }

  /** The next bytes to write; undefined at the end. */
  async function nextBytes(): Promise<Uint8Array | undefined> {
    for (;;) {
      const event = await next();
      if (event === 'silence') return progress.isDone ? undefined : encoder.encode(KEEP_ALIVE);
      if (event === undefined) {
        if (progress.isCut) throw options.failure('unreachable', 'ended before its answer did');
        const rest = dataEvents(options.translation?.rest() ?? []);
        return rest === '' ? undefined : encoder.encode(rest);
      }
      if (event.kind === 'failure') throw options.toFailure(event);
      const bytes = translated(event);
      if (bytes.length > 0) return bytes;
    }
  }

  function translated(event: StreamEvent): Uint8Array {
    const { translation } = options;
    if (translation === undefined || event.kind === 'silent') return event.bytes;
    if (event.kind === 'end') {
      const rest = dataEvents(translation.rest());
      return rest === '' ? event.bytes : encoder.encode(rest + new TextDecoder().decode(event.bytes));
    }
    if (event.json === undefined) return event.bytes;
    const json = translation.chunk(event.json);
    if (json === event.json) return event.bytes;
    return encoder.encode(json === undefined ? '' : dataEvents([json]));
  }

  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const bytes = await nextBytes();
        if (ended) return;
        if (bytes !== undefined) {
          controller.enqueue(bytes);
          writtenMs = Date.now();
          return;
        }
        end({ type: 'completed' });
      } catch (error) {
        if (ended) return;
        // After `[DONE]` nothing is missing, even if the connection breaks.
        if (progress.isDone) end({ type: 'completed' });
        else {
          controller.enqueue(encoder.encode(dataEvents([JSON.stringify(options.toErrorBody(error))])));
          end({ type: 'broken', error });
        }
      }
      controller.close();
    },
    cancel() {
      end({ type: 'cancelled' });
    },
  });
}

/** JSON text may have been sent over several lines. */
function dataEvents(texts: readonly string[]): string {
  return texts.map((text) => `${text.replaceAll(/^/gm, 'data: ')}\n\n`).join('');
}

/** After a pause of the whole process, due timers run before data that have arrived in the meantime are read. */
const GRACE_MS = 10;

async function orSilence<T>(read: Promise<T>, limitMs: number): Promise<T | 'silence'> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const silence = new Promise<'silence'>((resolve) => {
    timer = setTimeout(() => {
      timer = setTimeout(resolve, GRACE_MS, 'silence');
    }, limitMs);
  });
  try {
    return await Promise.race([read, silence]);
  } finally {
    clearTimeout(timer);
  }
}
