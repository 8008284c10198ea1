/** The behaviour of every store. Used by the tests of each of them. */
import { expect, it } from 'vitest';
import type { WeightStore, WritableStore } from '../../src/weights/store.ts';
import { sampleBytes } from './samples.ts';

const PART_BYTES = 5 * 2 ** 20;

export const bytesOf = async (store: WeightStore, ...[name, range]: Parameters<WeightStore['get']>) => {
  const object = await store.get(name, range);
  return object && new Uint8Array(await new Response(object.stream).arrayBuffer());
};

export function behavesAsWritable(storeOf: () => WritableStore): void {
  it('should give what was put, whole and in ranges, with one size and etag', async () => {
    const store = storeOf();
    const content = sampleBytes(10_000);
    await store.put('model/a.bin', content);
    const info = await store.head('model/a.bin');
    expect(info).toMatchObject({ size: 10_000, etag: expect.stringMatching(/^".+"$/) });
    expect(await bytesOf(store, 'model/a.bin')).toEqual(content);
    expect(await bytesOf(store, 'model/a.bin', { offset: 100, length: 50 })).toEqual(content.subarray(100, 150));
    expect(await bytesOf(store, 'model/a.bin', { offset: 9_990 })).toEqual(content.subarray(9_990));
    const part = (await store.get('model/a.bin', { offset: 1, length: 1 }))!;
    await part.stream.cancel();
    expect({ size: part.size, etag: part.etag }).toEqual(info);
  });

  it('should give null for what is not there, and delete it without an error', async () => {
    const store = storeOf();
    expect(await store.head('model/none')).toBeNull();
    expect(await store.get('model/none')).toBeNull();
    await store.delete('model/none');
  });

  it('should write what is to be new, and leave what is there', async () => {
    const store = storeOf();
    expect(await store.putNew('new/one', sampleBytes(10, 1))).toBe(true);
    expect(await store.putNew('new/one', sampleBytes(10, 2))).toBe(false);
    expect(await bytesOf(store, 'new/one')).toEqual(sampleBytes(10, 1));
    await store.delete('new/one');
    expect(await store.putNew('new/one', sampleBytes(10, 2))).toBe(true);
  });

  it('should list by prefix, page after page, and forget what is deleted', async () => {
    const store = storeOf();
    const names = Array.from({ length: 8 }, (_, index) => `list/${index}`);
    for (const name of names) await store.put(name, sampleBytes(10));
    await store.put('other/0', sampleBytes(1));
    await store.delete('list/3');
    const listed = await store.list('list/');
    expect(listed.map(({ name }) => name)).toEqual(names.filter((name) => name !== 'list/3'));
    expect(listed[0]).toEqual({ name: 'list/0', ...(await store.head('list/0')) });
  });

  it('should show an upload when it is complete, and no part of it before', async () => {
    const store = storeOf();
    const content = sampleBytes(PART_BYTES + 1000);
    const upload = await store.upload('big/whole');
    await upload.part(content.slice(0, PART_BYTES));
    await upload.part(content.slice(PART_BYTES));
    expect(await store.head('big/whole')).toBeNull();
    expect(await store.list('big/')).toEqual([]);
    await upload.complete();
    expect((await store.head('big/whole'))?.size).toBe(content.byteLength);
    expect(await bytesOf(store, 'big/whole', { offset: PART_BYTES - 5, length: 10 })).toEqual(
      content.subarray(PART_BYTES - 5, PART_BYTES + 5),
    );
  });

  it('should show nothing of an upload that is aborted', async () => {
    const store = storeOf();
    const upload = await store.upload('big/aborted');
    await upload.part(sampleBytes(PART_BYTES));
    await upload.abort();
    expect(await store.head('big/aborted')).toBeNull();
  });
}
