import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, it } from 'vitest';
import { r2Store } from '../../src/weights/r2-store.ts';
import { writeVerified } from '../../src/weights/write.ts';
import { sampleBytes, sha256Of } from './samples.ts';
import { behavesAsWritable, bytesOf } from './store-behaviour.ts';

beforeEach(async () => {
  const { objects } = await env.WEIGHTS.list();
  await env.WEIGHTS.delete(objects.map(({ key }) => key));
});

describe('an R2 store', () => {
  behavesAsWritable(() => r2Store(env.WEIGHTS));

  it('should hold what is written in parts', async () => {
    const store = r2Store(env.WEIGHTS);
    const content = sampleBytes(12 * 2 ** 20 + 1);
    const file = { path: 'f', size: content.byteLength, sha256: sha256Of(content) };
    const writing = async (bytes: Uint8Array) =>
      writeVerified(store, 'm/f', file, new Blob([bytes as BlobPart]).stream(), { partBytes: 5 * 2 ** 20 });
    await expect(writing(content.slice().fill(1, 0, 2))).rejects.toThrow('is damaged');
    expect(await store.head('m/f')).toBeNull();
    await writing(content);
    expect(sha256Of((await bytesOf(store, 'm/f'))!)).toBe(file.sha256);
  });

  it('should list more than a page of R2', async () => {
    // One after the other, each waits for its turn on a machine that is busy.
    const names = Array.from({ length: 1005 }, (_, i) => `many/${String(i).padStart(4, '0')}`);
    await Promise.all(names.map((name) => env.WEIGHTS.put(name, '')));
    expect(await r2Store(env.WEIGHTS).list('many/')).toHaveLength(1005);
  });
});
