import { describe, expect, it } from 'vitest';
import { diskSource } from '../../src/weights/disk.ts';

/** As the disk service of workerd answers: a folder has a listing, which has no length. */
function folderService(files: Readonly<Record<string, string>>) {
  return {
    async fetch(url: string, { method }: { method?: string } = {}): Promise<Response> {
      const path = decodeURIComponent(new URL(url).pathname.slice(1));
      if (path === 'broken/a') return new Response(null, { status: 406 });
      if (path === 'nano') return new Response('[{"name":"config.json","type":"file"}]');
      const content = files[path];
      if (content === undefined) return new Response('Not Found', { status: 404 });
      const headers = { 'content-length': String(content.length) };
      return new Response(method === 'HEAD' ? null : content, { headers });
    },
  };
}

const source = diskSource(folderService({ 'nano/config.json': '{"a":1}', 'nano/sub/with blank?.bin': 'abc' }), 'nano');

describe('weights on disk', () => {
  it('should have sizes and contents of files, whatever their names', async () => {
    expect(await source.size('config.json')).toBe(7);
    expect(await new Response(await source.open('config.json')).json()).toEqual({ a: 1 });
    expect(await source.size('sub/with blank?.bin')).toBe(3);
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
