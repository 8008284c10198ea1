import { describe, expect, it } from 'vitest';
import { WeightsDamaged } from '../../src/weights/errors.ts';
import { writeVerified } from '../../src/weights/write.ts';
import { memoryStore } from './memory-store.ts';
import { sampleBytes, sha256Of } from './samples.ts';

const PART = 100;

async function* inChunks(bytes: Uint8Array, chunkBytes: number) {
  for (let i = 0; i < bytes.byteLength; i += chunkBytes) yield bytes.subarray(i, i + chunkBytes);
}

const fileOf = (bytes: Uint8Array) => ({ path: 'f', size: bytes.byteLength, sha256: sha256Of(bytes) });

describe('writing what is verified', () => {
  it.each([0, 1, 99, 100, 101, 200, 250, 1000])('should write %i bytes with any chunks', async (size) => {
    for (const chunkBytes of [1, 64, 100, 333]) {
      const store = memoryStore();
      const content = sampleBytes(size);
      const progress: number[] = [];
      const onProgress = (bytes: number) => progress.push(bytes);
      await writeVerified(store, 'm/f', fileOf(content), inChunks(content, chunkBytes), {
        partBytes: PART,
        onProgress,
      });
      expect(store.objects.get('m/f')).toEqual(content);
      expect(store.loose.size).toBe(0);
      expect(progress.at(-1)).toBe(size);
    }
  });

  it.each([50, 100, 250, 300])('should write nothing when one of %i bytes differs', async (size) => {
    const store = memoryStore();
    const content = sampleBytes(size);
    const damaged = content.slice().fill(content[5]! ^ 1, 5, 6);
    const writing = writeVerified(store, 'm/f', fileOf(content), inChunks(damaged, 30), { partBytes: PART });
    await expect(writing).rejects.toThrow(WeightsDamaged);
    expect([store.written, [...store.loose]]).toEqual([[], []]);
  });

  it.each([
    ['shorter', 99, '150 bytes', '99 bytes'],
    ['shorter by whole parts', 100, '150 bytes', '100 bytes'],
    ['longer', 151, '150 bytes', 'more'],
  ])('should write nothing when it is %s', async (_, size, expected, actual) => {
    const store = memoryStore();
    const file = fileOf(sampleBytes(150));
    const writing = writeVerified(store, 'm/f', file, inChunks(sampleBytes(size), 40), { partBytes: PART });
    await expect(writing).rejects.toMatchObject({ expected, actual });
    expect([store.written, [...store.loose]]).toEqual([[], []]);
  });

  it('should drop its parts when the source breaks, and pass on why', async () => {
    const store = memoryStore();
    const content = sampleBytes(300);
    async function* breaking() {
      yield content.subarray(0, 150);
      throw new Error('gone');
    }
    const writing = writeVerified(store, 'm/f', fileOf(content), breaking(), { partBytes: PART });
    await expect(writing).rejects.toThrow('gone');
    expect([store.written, [...store.loose]]).toEqual([[], []]);
  });
});
