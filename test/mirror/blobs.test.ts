import { createHash } from 'node:crypto';
import { describe, expect, it, vi } from 'vitest';
import { Blobs } from '../../src/mirror/blobs.ts';
import { segmentName as nameOf } from '../../src/mirror/segments.ts';
import { StoreFailed } from '../../src/weights/errors.ts';
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

/** The bytes with one of them wrong. */
function damaged(bytes: Bytes, at: number): Bytes {
  return bytes.slice().fill(bytes[at]! ^ 1, at, at + 1);
}

describe('a file that is not there', () => {
  it('should be pulled in segments, the index last, and then read from the store', async () => {
    const { read, asked, store } = setUp();
    expect(await read()).toEqual(content);
    await vi.waitFor(() => expect(store.written.at(-1)).toBe(INDEX));
    const isLease = (name: string) => name.endsWith('/pull.json');
    expect(store.written.filter((name) => !isLease(name))).toEqual([
      ...[0, 1, 2, 3, 4].map((segment) => segmentName(blob, segment)),
      INDEX,
    ]);
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
    ['another content', damaged(content, 7)],
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
    const { blobs, origin, store } = setUp(memoryStore(), damaged(content, 7));
    const { stream } = await blobs.open(blob, all, origin);
    let bytes = 0;
    const reading = (async () => {
      for await (const chunk of stream) bytes += chunk.byteLength;
    })();
    await expect(reading).rejects.toThrow(/is damaged|not in the store/);
    expect(bytes).toBeLessThanOrEqual(4000);
    await vi.waitFor(() => expect([...store.objects.keys()]).toEqual([RECALL]));
  });

  it('in the store should break off, be removed and be fetched again', async () => {
    const { read, asked, store } = setUp();
    await read();
    await vi.waitFor(() => expect(store.objects.has(INDEX)).toBe(true));
    const name = segmentName(blob, 2);
    store.objects.set(name, damaged(store.objects.get(name)!, 5));
    await expect(read()).rejects.toThrow('is damaged');
    expect(store.objects.has(name)).toBe(false);
    expect(await read()).toEqual(content);
    expect(asked).toEqual([0, 2000]);
  });

  it.each<[string, (bytes: Bytes) => Bytes | undefined]>([
    ['truncated', (bytes) => bytes.slice(0, 10)],
    ['gone', () => undefined],
  ])('in the store should be fetched again before a reader notices (%s)', async (_, spoil) => {
    const { read, asked, store } = setUp();
    await read();
    await vi.waitFor(() => expect(store.objects.has(INDEX)).toBe(true));
    const name = segmentName(blob, 2);
    const spoilt = spoil(store.objects.get(name)!);
    store.objects.delete(name);
    if (spoilt !== undefined) store.objects.set(name, spoilt);
    expect(await read()).toEqual(content);
    expect(asked).toEqual([0, 2000]);
    expect(store.objects.get(name)).toEqual(segmentOf(2));
  });

  it('at its origin once should be downloaded at the second try if no client has received any of it', async () => {
    const small = content.slice(0, 900);
    const file = { oid: oidOf(small), size: small.byteLength };
    const { blobs, store } = setUp();
    const answers = [damaged(small, 7), small];
    const { stream } = await blobs.open(file, undefined, async () => {
      const bytes = answers.shift()!;
      return { size: bytes.byteLength, etag: '', stream: new Blob([bytes]).stream() };
    });
    expect(new Uint8Array(await new Response(stream).arrayBuffer())).toEqual(small);
    expect([...store.objects.keys()].some((name) => name.endsWith('recalled.json'))).toBe(false);
  });
});

describe('the end of a file', () => {
  const wrong = damaged(content, 7);
  const tail = { offset: 3000, length: 1500 };
  const partOf = async (blobs: Blobs, origin: (offset: number) => Promise<StoredObject>, range = tail) => {
    const { stream, isPart } = await blobs.open(blob, range, origin);
    return { isPart, bytes: new Uint8Array(await new Response(stream).arrayBuffer()) };
  };

  it('should be sent alone while no wrong byte of the file was sent', async () => {
    const { blobs, origin, store } = setUp();
    expect(await partOf(blobs, origin)).toEqual({ isPart: true, bytes: content.subarray(3000) });
    expect(await partOf(setUp(store).blobs, origin)).toEqual({ isPart: true, bytes: content.subarray(3000) });
  });

  it('should never be sent alone again after a wrong byte was sent, in any process', async () => {
    const store = memoryStore();
    await expect(setUp(store, wrong).read()).rejects.toThrow();
    const { blobs, origin } = setUp(store);
    for (const reader of [blobs, blobs, setUp(store).blobs]) {
      expect(await partOf(reader, origin)).toEqual({ isPart: false, bytes: content });
    }
    const start = { offset: 10, length: 1000 };
    expect(await partOf(blobs, origin, start)).toEqual({ isPart: true, bytes: content.subarray(10, 1010) });
  });

  it('should not be sent alone when the segments of a crashed process turn out wrong', async () => {
    const store = memoryStore();
    await store.put(segmentName(blob, 0, wrong), segmentOf(0, wrong));
    const { blobs, origin } = setUp(store);
    await expect(partOf(blobs, origin)).rejects.toThrow();
    expect(await partOf(blobs, origin)).toEqual({ isPart: false, bytes: content });
  });

  it('should not be sent alone when another process had stored other content', async () => {
    const store = memoryStore();
    const { read, origin } = setUp(store);
    await read();
    await vi.waitFor(() => expect(store.objects.has(INDEX)).toBe(true));
    await store.put(segmentName(blob, 0, wrong), segmentOf(0, wrong));
    expect((await partOf(setUp(store).blobs, origin)).isPart).toBe(false);
    expect(store.objects.has(segmentName(blob, 0, wrong))).toBe(false);
    expect((await partOf(setUp(store).blobs, origin)).isPart).toBe(false);
  });

  it('should not be sent alone after a damaged segment of the store was sent', async () => {
    const store = memoryStore();
    const large = sampleBytes(300_000);
    const file = { oid: oidOf(large), size: large.byteLength };
    const origin = async (offset: number) => ({
      size: 300_000,
      etag: '',
      stream: new Blob([large.slice(offset)]).stream(),
    });
    const open = async (range?: typeof tail) =>
      new Blobs({ store, segmentBytes: 200_000, retryDelayMs: 1 }).open(file, range, origin);
    await new Response((await open()).stream).arrayBuffer();
    await vi.waitFor(() => expect(store.objects.has(`hf/blobs/${file.oid}/index.json`)).toBe(true));
    const name = nameOf(file, 0, sha256Of(large.subarray(0, 200_000)));
    store.objects.set(name, damaged(large.slice(0, 200_000), 5));
    await expect(new Response((await open({ offset: 0, length: 150_000 })).stream).arrayBuffer()).rejects.toThrow();
    const rest = await open({ offset: 100_000, length: 200_000 });
    expect(rest.isPart).toBe(false);
    expect(new Uint8Array(await new Response(rest.stream).arrayBuffer())).toEqual(large);
  });
});

describe('several processes', () => {
  it.each([true, false])('should pull a file once (conditional writes: %s)', async (knowsConditions) => {
    const store = memoryStore();
    const inAnyCase = async (name: string, bytes: Bytes) => {
      await store.put(name, bytes);
      return true;
    };
    if (!knowsConditions) store.putNew = inAnyCase;
    const processes = Array.from({ length: 4 }, () => setUp(store));
    const read = await Promise.all(processes.map((process) => process.read()));
    for (const bytes of read) expect(bytes).toEqual(content);
    expect(processes.flatMap(({ asked }) => asked)).toEqual([0]);
    await vi.waitFor(() => expect([...store.objects.keys()].some((name) => name.endsWith('pull.json'))).toBe(false));
  });

  it('should take over what a process that ended had begun', async () => {
    const store = memoryStore();
    await store.put(segmentName(blob, 0), segmentOf(0));
    const lease = { owner: 'gone', renewedMs: Date.now() };
    await store.put(`hf/blobs/${blob.oid}/pull.json`, new TextEncoder().encode(JSON.stringify(lease)));
    const asked: number[] = [];
    const blobs = new Blobs({ store, segmentBytes: SEGMENT, retryDelayMs: 1, leaseMs: 300 });
    const { stream } = await blobs.open(blob, undefined, async (offset) => {
      asked.push(offset);
      return { size: content.byteLength, etag: '', stream: new Blob([content.slice(offset)]).stream() };
    });
    expect(new Uint8Array(await new Response(stream).arrayBuffer())).toEqual(content);
    expect(asked).toEqual([1000]);
  });

  it('should each ask by themselves when the one that pulls is refused', async () => {
    const store = memoryStore();
    const refused = async (): Promise<StoredObject> => {
      await new Promise((resolve) => setTimeout(resolve, 50));
      throw new Error('gated');
    };
    const opening = [1, 2, 3].map(() =>
      new Blobs({ store, segmentBytes: SEGMENT, retryDelayMs: 1 }).open(blob, undefined, refused),
    );
    for (const open of opening) await expect(open).rejects.toThrow('gated');
  });
});

describe('a store that takes nothing', () => {
  const full = () => {
    const store = memoryStore();
    const refuse = async () => {
      throw new StoreFailed('PUT', 'answered 507', { status: 507 });
    };
    return Object.assign(store, { put: refuse, putNew: refuse });
  };

  it('should pass files through, never the end of one alone', async () => {
    const store = full();
    const { blobs, origin, asked } = setUp(store);
    for (const range of [undefined, { offset: 3000, length: 1500 }, { offset: 0, length: 1 }]) {
      const { stream, isPart } = await blobs.open(blob, range, origin);
      expect(isPart).toBe(false);
      expect(new Uint8Array(await new Response(stream).arrayBuffer())).toEqual(content);
    }
    expect(asked.every((offset) => offset === 0)).toBe(true);
    expect(store.objects.size).toBe(0);
  });

  it('should not make anything wrong whole, nor let it be completed once the store takes something', async () => {
    const store = full();
    const wrong = damaged(sampleBytes(4500), 7);
    const answers = [wrong];
    const blobs = new Blobs({ store, segmentBytes: SEGMENT, retryDelayMs: 1 });
    const origin = async (offset: number): Promise<StoredObject> => {
      const bytes = answers.shift() ?? content;
      const chunks = [bytes.slice(offset, 4000), bytes.slice(Math.max(offset, 4000))];
      const stream = new ReadableStream<Uint8Array>({
        start(controller) {
          for (const chunk of chunks) if (chunk.byteLength > 0) controller.enqueue(chunk);
          controller.close();
        },
      });
      return { size: undefined, etag: '', stream };
    };
    answers.push(wrong);
    const { stream } = await blobs.open(blob, undefined, origin);
    await expect(new Response(stream).arrayBuffer()).rejects.toThrow('is damaged');
    expect((await blobs.open(blob, { offset: 4000, length: 500 }, origin)).isPart).toBe(false);
  });
});

it('should not wait forever for downloads whose requests have ended, nor lose their permits', async () => {
  const { blobs, read } = setUp(memoryStore(), content, 500);
  const lost = Array.from({ length: 6 }, async (_, index) => {
    const other = { oid: oidOf(sampleBytes(2000, index + 2)), size: 2000 };
    const opening = blobs.open(other, { offset: 0, length: 2000 }, () => new Promise(() => {}));
    await expect(opening).rejects.toThrow('is downloaded no further');
  });
  await Promise.all(lost);
  expect(await read()).toEqual(content);
});
