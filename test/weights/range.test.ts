import { describe, expect, it, vi } from 'vitest';
import { contentRange, parseRange, rangeHeader, sliced } from '../../src/weights/range.ts';

describe('a Range header', () => {
  it.each([
    ['bytes=0-0', { offset: 0, length: 1 }],
    ['bytes=10-19', { offset: 10, length: 10 }],
    ['bytes=90-', { offset: 90, length: 10 }],
    ['bytes=90-1000', { offset: 90, length: 10 }],
    ['bytes=-10', { offset: 90, length: 10 }],
    ['bytes=-1000', { offset: 0, length: 100 }],
    ['bytes=100-', 'unsatisfiable'],
    ['bytes=100-200', 'unsatisfiable'],
    ['bytes=-0', 'unsatisfiable'],
    [undefined, undefined],
    ['', undefined],
    ['bytes=-', undefined],
    ['bytes=5-4', undefined],
    ['bytes=0-1,3-4', undefined],
    ['items=0-1', undefined],
    ['bytes=a-b', undefined],
    ['bytes=1.5-3', undefined],
  ])('%j of 100 bytes should ask for %j', (header, expected) => {
    expect(parseRange(header, 100)).toEqual(expected);
  });

  it('should be written as it is read', () => {
    for (const range of [
      { offset: 0, length: 1 },
      { offset: 7, length: 93 },
    ]) {
      expect(parseRange(rangeHeader(range), 100)).toEqual(range);
    }
    expect(rangeHeader({ offset: 7 })).toBe('bytes=7-');
    expect(contentRange({ offset: 7, length: 3 }, 100)).toBe('bytes 7-9/100');
  });
});

describe('a slice of a stream', () => {
  const bytes = Uint8Array.from({ length: 20 }, (_, index) => index);

  it.each([1, 3, 7, 20])('should be the range with any chunks (%i bytes)', async (chunkBytes) => {
    for (let offset = 0; offset <= 20; offset++) {
      for (let length = 1; offset + length <= 20; length++) {
        const chunks = Array.from({ length: Math.ceil(20 / chunkBytes) }, (_, i) =>
          bytes.subarray(i * chunkBytes, (i + 1) * chunkBytes),
        );
        const stream = sliced(new Blob(chunks).stream(), { offset, length });
        const slice = new Uint8Array(await new Response(stream).arrayBuffer());
        expect(slice).toEqual(bytes.subarray(offset, offset + length));
      }
    }
  });

  it('should cancel the source when it has what it needs', async () => {
    let cancelled = false;
    const endless = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.enqueue(bytes),
      cancel: () => {
        cancelled = true;
      },
    });
    const slice = await new Response(sliced(endless, { offset: 15, length: 10 })).arrayBuffer();
    expect([...new Uint8Array(slice)]).toEqual([15, 16, 17, 18, 19, 0, 1, 2, 3, 4]);
    await vi.waitFor(() => expect(cancelled).toBe(true));
  });
});
