import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { list, listLines, push, verify } from '../../scripts/models/actions.ts';
import { bytesText, progressOf } from '../../scripts/models/progress.ts';
import { memoryStore } from '../weights/memory-store.ts';
import { sampleBytes, sampleModel } from '../weights/samples.ts';

const files = sampleModel('m');
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quicksilver-models-'));
  for (const [name, content] of files) await writeFile(join(folder, name.slice('m/'.length)), content);
});

afterEach(() => rm(folder, { recursive: true, force: true }));

/** What was shown. */
function screenOf(isTTY = false) {
  const shown: string[] = [];
  return { isTTY, shown, write: (text: string) => shown.push(text) };
}

describe('pushing a model', () => {
  it('should store its files, the manifest last, and show each of them', async () => {
    const store = memoryStore();
    const screen = screenOf();
    await push(store, folder, screen, { partBytes: 50_000 });
    expect(store.objects).toEqual(files);
    expect(store.written.at(-1)).toBe('m/manifest.json');
    expect(screen.shown).toHaveLength(3);
    expect(screen.shown[2]).toBe('m/model.safetensors  195 KiB  stored\n');
  });

  it('should not send existing files again, unless forced', async () => {
    const store = memoryStore();
    await push(store, folder, screenOf());
    store.written.length = 0;
    const screen = screenOf();
    await push(store, folder, screen);
    expect(store.written).toEqual(['m/manifest.json']);
    expect(screen.shown.every((line) => line.endsWith('is there\n'))).toBe(true);
    await push(store, folder, screenOf(), { force: true });
    expect(store.written).toHaveLength(5);
  });

  it('should send what is there with another size or hash', async () => {
    const store = memoryStore(new Map(files));
    store.objects.set('m/config.json', sampleBytes(3));
    store.objects.delete('m/tokenizer.json');
    await push(store, folder, screenOf());
    expect(store.written).toEqual(['m/config.json', 'm/tokenizer.json', 'm/manifest.json']);
    expect(store.objects).toEqual(files);
  });

  it('should store no file that is not what the manifest says, and no manifest', async () => {
    await writeFile(join(folder, 'model.safetensors'), sampleBytes(200_000, 2));
    const store = memoryStore();
    await expect(push(store, folder, screenOf(), { partBytes: 50_000 })).rejects.toThrow(
      'model.safetensors is damaged',
    );
    expect(store.written).toEqual(['m/config.json', 'm/tokenizer.json']);
    expect(store.loose.size).toBe(0);
  });
});

describe('the models of a store', () => {
  it('should be listed with what is wrong with them', async () => {
    const store = memoryStore(new Map([...files, ...sampleModel('n'), ['hf/blobs/a/00000', sampleBytes(2048)]]));
    store.objects.delete('n/config.json');
    store.objects.set('n/tokenizer.json', sampleBytes(1));
    store.objects.set('o/manifest.json', sampleBytes(5));
    const lines = listLines(await list(store));
    expect(lines[0]).toMatch(/^m {2}196 KiB {2}complete$/);
    expect(lines[1]).toMatch(/^n .*config\.json is missing; tokenizer\.json has 1 bytes instead of 17$/);
    expect(lines[2]).toMatch(/^o .*manifest\.json is damaged/);
    expect(lines[3]).toBe('mirrored from a hub  2.00 KiB');
    expect(listLines(await list(memoryStore()))).toEqual(['no models']);
  });

  it('should be found damaged by reading them', async () => {
    const store = memoryStore(new Map(files));
    expect(await verify(store, 'm', screenOf())).toEqual([]);
    store.objects.set('m/model.safetensors', sampleBytes(200_000, 2));
    store.objects.delete('m/config.json');
    expect(await verify(store, 'm', screenOf())).toEqual(['m/config.json', 'm/model.safetensors']);
  });
});

describe('progress', () => {
  it('should be a bar that is redrawn on a terminal, and erased at the end', () => {
    const clock = { ms: 0 };
    const screen = screenOf(true);
    const progress = progressOf('m/f', 2048, screen, () => clock.ms);
    clock.ms = 1000;
    progress.at(1024);
    progress.at(1025);
    progress.end('stored');
    expect(screen.shown).toEqual([
      `\r\x1b[Km/f  ${'█'.repeat(15)}${'░'.repeat(15)}  50 %  1.00 KiB of 2.00 KiB  1.00 KiB/s`,
      '\r\x1b[Km/f  2.00 KiB  stored\n',
    ]);
  });

  it.each([
    [0, '0 B'],
    [1023, '1023 B'],
    [1024, '1.00 KiB'],
    [15_000_000, '14.3 MiB'],
    [5 * 2 ** 40, '5.00 TiB'],
  ])('should say %i bytes as %s', (bytes, text) => {
    expect(bytesText(bytes)).toBe(text);
  });
});
