/** The events of a backend's stream one by one, each with its kind: silence, text, a failure or the end. */
import { concat } from './bytes.ts';
import { type Refusal, refusalInEvent } from './refusal.ts';
import { EventFramer, fieldsOf, wholeEvents } from './sse.ts';
import { type TokenUsage, tokenUsageOf } from './token-usage.ts';

/**
 * - `silent`: a comment or a ping, which only shows that the connection is open
 * - `opening`: a chunk before any text, such as one that only names a role
 * - `content`: text, or other content that a client waits for
 * - `end`: `[DONE]`
 * - `failure`: the backend reports an error
 */
export type EventKind = 'silent' | 'opening' | 'content' | 'end' | 'failure';

export interface StreamEvent {
  /** The unchanged bytes, with the blank line. */
  bytes: Uint8Array;
  kind: EventKind;
  /** The JSON text of its data; undefined if it has none. */
  json?: string;
  refusal?: Refusal;
}

/** The state of a stream after the events so far. */
export class StreamProgress {
  /** Choices that have begun and not ended, by their index. */
  readonly #open = new Set<unknown>();
  #sawChunk = false;
  #sawFinish = false;
  #isDone = false;
  #usage: TokenUsage | undefined;

  /** `[DONE]` has arrived: nothing is missing, even if the connection breaks. */
  get isDone(): boolean {
    return this.#isDone;
  }

  /** Whether a stream that ends here was cut. One without a chunk of completions has an end that is not known here. */
  get isCut(): boolean {
    return this.#sawChunk && !this.#isDone && (!this.#sawFinish || this.#open.size > 0);
  }

  /** The last reported value: some backends report it in every chunk. */
  get usage(): TokenUsage | undefined {
    return this.#usage;
  }

  ended(): void {
    this.#isDone = true;
  }

  saw(chunk: unknown): void {
    this.#usage = tokenUsageOf(chunk) ?? this.#usage;
    for (const { index, finish_reason } of choicesOf(chunk) ?? []) {
      this.#sawChunk = true;
      if (isBlank(finish_reason)) this.#open.add(index);
      else {
        this.#sawFinish = true;
        this.#open.delete(index);
      }
    }
  }
}

/** Reads events from a body. */
export class StreamEvents {
  readonly progress = new StreamProgress();
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #maxBytes: number;
  readonly #failure: (kind: 'unreachable' | 'too_large', what: string) => Error;
  readonly #framer = new EventFramer();
  /** Events that have not been examined: an event must not count before the earlier ones have been passed on. */
  #queue: Uint8Array[] = [];
  #bytes = 0;
  #isOver = false;

  constructor(
    reader: ReadableStreamDefaultReader<Uint8Array>,
    maxBytes: number,
    failure: (kind: 'unreachable' | 'too_large', what: string) => Error,
  ) {
    this.#reader = reader;
    this.#maxBytes = maxBytes;
    this.#failure = failure;
  }

  /**
   * The next event; undefined at a clean end. Not to be called again before it has settled.
   * @throws what `failure` makes for a body that is too large or ends within an event, and what broke the connection.
   */
  async next(): Promise<StreamEvent | undefined> {
    for (;;) {
      const bytes = this.#queue.shift();
      if (bytes !== undefined) return this.#eventOf(bytes);
      if (this.#isOver) return undefined;
      const { done, value } = await this.#reader.read();
      if (done) {
        this.#isOver = true;
        this.#queue = this.#last();
        continue;
      }
      this.#bytes += value.length;
      if (this.#bytes > this.#maxBytes) throw this.#failure('too_large', `sent more than ${this.#maxBytes} bytes`);
      this.#queue = wholeEvents(this.#framer.push(value));
    }
  }

  /** Nothing more is read. */
  cancel(): void {
    // A connection that is already broken cannot be cancelled.
    this.#reader.cancel().catch(() => undefined);
  }

  /** An event at the end of the body that no blank line ends: it counts when its lines are whole. */
  #last(): Uint8Array[] {
    const held = this.#framer.rest();
    if (held.length === 0) return [];
    const text = new TextDecoder().decode(held);
    const { data } = fieldsOf(text);
    const isWhole = data === undefined ? /[\r\n]$/.test(text) : data.trim() === END || parsed(data) !== undefined;
    if (!isWhole) throw this.#failure('unreachable', 'ended in the middle of an event');
    const close = /[\r\n]$/.test(text) ? '\n' : '\n\n';
    return [concat([held, new TextEncoder().encode(close)])];
  }

  #eventOf(bytes: Uint8Array): StreamEvent {
    const { data, event } = fieldsOf(new TextDecoder().decode(bytes));
    if (data === undefined || data.trim() === '' || PING.test(event)) return { bytes, kind: 'silent' };
    if (data.trim() === END) {
      this.progress.ended();
      return { bytes, kind: 'end' };
    }
    const value = parsed(data);
    const refusal = refusalInEvent(value ?? data, event === 'error');
    if (refusal !== undefined) return { bytes, kind: 'failure', refusal };
    this.progress.saw(value);
    return { bytes, kind: kindOf(value), ...(value !== undefined && { json: data }) };
  }
}

const END = '[DONE]';

/** Types of events that only keep a connection open. */
const PING = /^(ping|heartbeat|keep-?alive)$/i;

function kindOf(value: unknown): EventKind {
  if (value === null) return 'silent';
  const choices = choicesOf(value);
  if (choices !== undefined) return choices.every(saysNothing) ? 'opening' : 'content';
  return typeof value === 'object' && 'type' in value && PING.test(String(value.type)) ? 'silent' : 'content';
}

type Choice = Readonly<Record<string, unknown>>;

function choicesOf(value: unknown): Choice[] | undefined {
  if (typeof value !== 'object' || value === null || !('choices' in value)) return undefined;
  if (!Array.isArray(value.choices)) return undefined;
  return value.choices.filter((choice): choice is Choice => typeof choice === 'object' && choice !== null);
}

/** No text, no tool call, no end: only the role. */
function saysNothing({ text, delta, message, finish_reason }: Choice): boolean {
  const said = [text, finish_reason];
  for (const part of [delta, message]) {
    if (typeof part !== 'object' || part === null) continue;
    said.push(...Object.entries(part).flatMap(([name, value]) => (name === 'role' ? [] : [value as unknown])));
  }
  return said.every(isBlank);
}

function isBlank(value: unknown): boolean {
  return value === undefined || value === null || value === '' || (Array.isArray(value) && value.length === 0);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
