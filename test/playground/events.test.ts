import { describe, expect, it } from 'vitest';
import { eventsOf } from '../../playground/src/service/events.ts';

function streamOf(...pieces: string[]): ReadableStream<Uint8Array> {
  const bytes = new TextEncoder();
  return new ReadableStream({
    start(controller) {
      for (const piece of pieces) controller.enqueue(bytes.encode(piece));
      controller.close();
    },
  });
}

const TEXT = 'data: {"a":"ä"}\n\n: a comment\n\ndata: {"a":2}\n\ndata: [DONE]\n\n';

describe('events', () => {
  it.each([1, 2, 7, 1000])('should be read whole from pieces of %i characters', async (size) => {
    const pieces = TEXT.match(new RegExp(`[\\s\\S]{1,${size}}`, 'g'))!;
    expect(await Array.fromAsync(eventsOf(streamOf(...pieces)))).toEqual([{ a: 'ä' }, { a: 2 }]);
  });

  it('should fail when the stream is cut short, or is no JSON', async () => {
    await expect(Array.fromAsync(eventsOf(streamOf('data: {"a":1}\n\ndata: {"a"')))).rejects.toThrow('ended before');
    await expect(Array.fromAsync(eventsOf(streamOf('data: nonsense\n\n')))).rejects.toThrow(SyntaxError);
  });

  it('should cancel the stream when the reader stops', async () => {
    let cancelled = false;
    const stream = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.enqueue(new TextEncoder().encode('data: 1\n\n')),
      cancel: () => {
        cancelled = true;
      },
    });
    for await (const _ of eventsOf(stream)) break;
    expect(cancelled).toBe(true);
  });
});
