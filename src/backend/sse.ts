/**
 * Server-sent events passed through:
 * https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
 */

import { concat } from './bytes.ts';

const CR = 13;
const LF = 10;

/**
 * Splits a byte stream after its last complete event, without changing a byte. The rest waits for its end, so that
 * anything written next (a comment, an error event) is never inside an event.
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

  /** The bytes of an unfinished event; the caller takes them over. */
  rest(): Uint8Array {
    const rest = concat(this.#held);
    this.#held = [];
    this.#heldBytes = 0;
    return rest;
  }

  /** Takes a chunk and returns all bytes up to the end of the last complete event; possibly none. */
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

/** Cuts bytes that end in a whole event, as the framer gives them, into their events. */
export function wholeEvents(bytes: Uint8Array): Uint8Array[] {
  const events: Uint8Array[] = [];
  let start = 0;
  let lineStart = 0;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i]!;
    if (byte !== CR && byte !== LF) continue;
    const isEmpty = i === lineStart;
    if (byte === CR && bytes[i + 1] === LF) i++;
    lineStart = i + 1;
    if (!isEmpty) continue;
    events.push(bytes.subarray(start, lineStart));
    start = lineStart;
  }
  if (start < bytes.length) events.push(bytes.subarray(start));
  return events;
}

/** The type of an event and its data, undefined if it has none: a comment, or the other half of a line end. */
export function fieldsOf(event: string): { event: string; data: string | undefined } {
  const data: string[] = [];
  let type = '';
  for (const line of event.split(/\r\n|\n|\r/)) {
    const colon = line.indexOf(':');
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (name === 'data') data.push(value);
    else if (name === 'event') type = value;
  }
  return { event: type, data: data.length > 0 ? data.join('\n') : undefined };
}
