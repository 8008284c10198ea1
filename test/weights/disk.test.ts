import { describe, expect, it } from 'vitest';
import { diskStore } from '../../src/weights/disk.ts';
import { modelSource } from '../../src/weights/store.ts';

/** As the disk service of workerd answers: a folder has a listing, which has no length. */
function folderService(files: Readonly<Record<string, string>>) {
  return {
    async fetch(url: string, { method }: { method?: string } = {}): Promise<Response> {
      const path = decodeURIComponent(new URL(url).pathname.slice(1));
      if (path === 'broken/a') return new Response(null, { status: 406 });
      if (path === 'nano') return new Response('[{"name":"config.json","type":"file"}]');
      const content = files[path];
      if (content === undefined) return new Response('Not Found', { status: 404 });
      const headers = { 'content-length': String(content.length), 'last-modified': 'Wed, 25 Nov 2026 18:00:00 GMT' };
      return new Response(method === 'HEAD' ? null : content, { headers });
    },
  };
}

const diskSource = (folder: ReturnType<typeof folderService>, model: string) => modelSource(diskStore(folder), model);

const source = diskSource(folderService({ 'nano/config.json': '{"a":1}', 'nano/sub/with blank?.bin': 'abc' }), 'nano');

describe('weights on disk', () => {
  it('should have sizes and contents of files with any names', async () => {
    expect(await source.size('config.json')).toBe(7);
    expect(await new Response(await source.open('config.json')).json()).toEqual({ a: 1 });
    expect(await source.size('sub/with blank?.bin')).toBe(3);
  });

  it('should give ranges, and an ETag that changes with the file', async () => {
    const store = diskStore(folderService({ 'nano/config.json': '{"a":1}' }));
    const object = (await store.get('nano/config.json', { offset: 1, length: 3 }))!;
    expect(await new Response(object.stream).text()).toBe('"a"');
    expect(object).toMatchObject({ size: 7, etag: (await store.head('nano/config.json'))?.etag });
    const longer = await diskStore(folderService({ 'nano/config.json': '{"a":10}' })).head('nano/config.json');
    expect(longer?.etag).not.toBe(object.etag);
  });

  it('should not have what is not there, nor a folder', async () => {
    expect(await source.size('model.safetensors')).toBeNull();
    expect(await source.open('model.safetensors')).toBeNull();
    expect(await diskSource(folderService({}), 'nano').size('')).toBeNull();
  });

  it('should not take a folder that cannot be read for an empty one', async () => {
    await expect(diskSource(folderService({}), 'broken').size('a')).rejects.toThrow('406');
  });
});
