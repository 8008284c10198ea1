import { createHash } from 'node:crypto';
import { describe, expect, it, vi } from 'vitest';
import { Blobs } from '../../src/mirror/blobs.ts';
import { segmentName as nameOf } from '../../src/mirror/segments.ts';
import type { Bytes, StoredObject } from '../../src/weights/store.ts';
import { type MemoryStore, memoryStore } from '../weights/memory-store.ts';
import { sampleBytes, sha256Of } from '../weights/samples.ts';
import { oidOf } from './hub.ts';

const SEGMENT = 1000;
const content = sampleBytes(4500);
const blob = { oid: oidOf(content), size: content.byteLength };
const all = { offset: 0, length: content.byteLength };
const INDEX = `hf/blobs/${blob.oid}/index.json`;

const RECALL = `hf/blobs/${blob.oid}/recalled.json`;

const segmentOf = (segment: number, of = content) => of.slice(segment * SEGMENT, (segment + 1) * SEGMENT);
const segmentName = (file: typeof blob, segment: number, of = content) =>
  nameOf(file, segment, sha256Of(segmentOf(segment, of)));

/** Blobs over a store, and an origin that keeps the offsets it was asked for. */
function setUp(store: MemoryStore = memoryStore(), source: Bytes = content, stallMs = 30_000) {
  const asked: number[] = [];
  const origin = async (offset: number): Promise<StoredObject> => {
    asked.push(offset);
    return { size: source.byteLength, etag: '', stream: new Blob([source.slice(offset)]).stream() };
  };
  const blobs = new Blobs({ store, segmentBytes: SEGMENT, stallMs, retryDelayMs: 1 });
  const read = async (range = all) => {
    const { stream } = await blobs.open(blob, range, origin);
    return new Uint8Array(await new Response(stream).arrayBuffer());
  };
  return { asked, blobs, origin, read, store };
}

describe('a file that is not there', () => {
  it('should be pulled in segments, the index last, and then read from the store', async () => {
    const { read, asked, store } = setUp();
    expect(await read()).toEqual(content);
    await vi.waitFor(() => expect(store.written.at(-1)).toBe(INDEX));
    const isLease = (name: string) => name.endsWith('/pull.json');
    expect(store.written.filter((name) => !isLease(name))).toEqual([...[0, 1, 2, 3, 4].map((segment) => segmentName(blob, segment)), INDEX]);
    expect(await read()).toEqual(content);
    expect(asked).toEqual([0]);
  });

  it('should be pulled once for all who read it, each from where he wants', async () => {
    const { read, asked } = setUp();
    const ranges = [all, { offset: 999, length: 2 }, { offset: 4499, length: 1 }, { offset: 2000, length: 1000 }];
    const parts = await Promise.all(ranges.map((range) => read(range)));
    for (const [index, { offset, length }] of ranges.entries()) {
      expect(parts[index]).toEqual(content.subarray(offset, offset + length));
    }
    expect(asked).toEqual([0]);
  });

  it('should be given to readers segment by segment while it is pulled', async () => {
    const { blobs } = setUp();
    const more = Promise.withResolvers<void>();
    const slow = async (): Promise<StoredObject> => {
      const stream = new ReadableStream<Uint8Array>({
        start: (controller) => controller.enqueue(content.subarray(0, 1500)),
        async pull(controller) {
          await more.promise;
          controller.enqueue(content.subarray(1500));
          controller.close();
        },
      });
      return { size: content.byteLength, etag: '', stream };
    };
    const { stream } = await blobs.open(blob, all, slow);
    const reader = stream.getReader();
    expect((await reader.read()).value).toEqual(content.subarray(0, 1000));
    more.resolve();
    const rest: number[] = [];
    for (let next = await reader.read(); !next.done; next = await reader.read()) rest.push(...next.value);
    expect(rest).toEqual([...content.subarray(1000)]);
  });

  it('should be pulled on from where an earlier pull was cut', async () => {
    const { store, read, asked } = setUp();
    for (const segment of [0, 1]) await store.put(segmentName(blob, segment), segmentOf(segment));
    expect(await read()).toEqual(content);
    expect(asked).toEqual([2000]);
  });

  it('should have only its gaps filled', async () => {
    const { store, read, asked } = setUp();
    for (const segment of [1, 3]) await store.put(segmentName(blob, segment), segmentOf(segment));
    await store.put(segmentName(blob, 2), content.slice(0, 7));
    expect(await read()).toEqual(content);
    expect(asked).toEqual([0, 2000, 4000]);
  });

  it.each([0, 1, 999, 1000, 1001, 3000])('should be whole with %i bytes', async (size) => {
    const bytes = sampleBytes(size);
    const small = { oid: createHash('sha256').update(bytes).digest('hex'), size };
    const { blobs, store } = setUp();
    const from = async (offset: number) => ({ size, etag: '', stream: new Blob([bytes.slice(offset)]).stream() });
    const pulls: Promise<unknown>[] = [];
    const { stream } = await blobs.open(small, { offset: 0, length: size }, from, (pull) => pulls.push(pull));
    expect(new Uint8Array(await new Response(stream).arrayBuffer())).toEqual(bytes);
    await Promise.all(pulls);
    expect(store.objects.has(`hf/blobs/${small.oid}/index.json`)).toBe(size > 0);
  });
});

describe('a file that is damaged', () => {
  it.each([
    ['another content', content.slice().fill(content[7]! ^ 1, 7, 8)],
    ['less', content.slice(0, 4000)],
    ['more', sampleBytes(5000)],
  ])('at its origin should never be given whole nor be kept (%s)', async (_, source) => {
    const { read, store } = setUp(memoryStore(), source);
    await expect(read()).rejects.toThrow();
    expect(store.objects.has(INDEX)).toBe(false);
    expect(store.objects.has(segmentName(blob, 4))).toBe(false);
    expect(await setUp(store).read()).toEqual(content);
  });

  it('should not have its last bytes shown before the whole was found right', async () => {
    const { blobs, origin, store } = setUp(memoryStore(), content.slice().fill(content[7]! ^ 1, 7, 8));
    const { stream } = await blobs.open(blob, all, origin);
    let bytes = 0;
    const reading = (async () => {
      for await (const chunk of stream) bytes += chunk.byteLength;
    })();
    await expect(reading).rejects.toThrow(/is damaged|not in the store/);
    expect(bytes).toBeLessThanOrEqual(4000);
    await vi.waitFor(() => expect([...store.objects.keys()]).toEqual([RECALL]));
  });

  it.each<[string, (bytes: Bytes) => Bytes | undefined]>([
    ['damaged', (bytes) => bytes.slice().fill(bytes[5]! ^ 1, 5, 6)],
    ['truncated', (bytes) => bytes.slice(0, 10)],
    ['gone', () => undefined],
  ])('in the store should break off, be removed and be fetched again (%s)', async (_, spoil) => {
    const { read, asked, store } = setUp();
    await read();
    await vi.waitFor(() => expect(store.objects.has(INDEX)).toBe(true));
    const name = segmentName(blob, 2);
    const spoilt = spoil(store.objects.get(name)!);
    store.objects.delete(name);
    if (spoilt !== undefined) store.objects.set(name, spoilt);
    await expect(read()).rejects.toThrow();
    expect(store.objects.has(name)).toBe(false);
    expect(await read()).toEqual(content);
    expect(asked).toEqual([0, 2000]);
  });
});

it('should not wait for ever for pulls whose requests are gone, nor lose their turns', async () => {
  const { blobs, read } = setUp(memoryStore(), content, 500);
  const lost = Array.from({ length: 6 }, async (_, index) => {
    const other = { oid: oidOf(sampleBytes(2000, index + 2)), size: 2000 };
    const opening = blobs.open(other, { offset: 0, length: 2000 }, () => new Promise(() => {}));
    await expect(opening).rejects.toThrow('is pulled no further');
  });
  await Promise.all(lost);
  expect(await read()).toEqual(content);
});
