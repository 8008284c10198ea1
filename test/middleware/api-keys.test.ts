import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { findKey, newKey, sameBytes } from '../../src/middleware/api-keys.ts';
import { keysOf } from './support.ts';

/** Bytes that count how often one of them is read. */
function counted(bytes: Uint8Array) {
  const reads = { count: 0 };
  const proxy = new Proxy(bytes, {
    get(target, property) {
      if (typeof property === 'string' && /^\d+$/.test(property)) reads.count++;
      return Reflect.get(target, property, target);
    },
  });
  return { proxy, reads };
}

describe('newKey', () => {
  it('should make a new key each time, and a line that only has its SHA-256', async () => {
    const { key, line } = await newKey('laptop');
    expect(key).toMatch(/^qs_[\w-]{43}$/);
    expect(line).toBe(`laptop:${createHash('sha256').update(key).digest('hex')}`);
    expect((await newKey('laptop')).key).not.toBe(key);
  });

  it('should have the form of the tokens of the Hub where they are for its clients', async () => {
    const { key, line } = await newKey('gpu', { forHub: true });
    expect(key).toMatch(/^hf_[A-Za-z0-9]{34,}$/);
    expect(line).toBe(`gpu:${createHash('sha256').update(key).digest('hex')}`);
    expect((await newKey('gpu', { forHub: true })).key).not.toBe(key);
  });
});

describe('findKey', () => {
  it('should find each of several keys, and nothing for another text', async () => {
    const { texts, keys } = await keysOf('one', 'two', 'three');
    for (const [index, text] of texts.entries()) expect(await findKey(keys, text)).toBe(keys[index]);
    for (const text of ['', 'one', texts[0]!.slice(0, -1), `${texts[0]} `]) {
      expect(await findKey(keys, text)).toBeUndefined();
    }
  });

  it('should not accept the hash itself', async () => {
    const { line } = await newKey('one');
    const { keys } = await keysOf('one');
    expect(await findKey(keys, line.split(':')[1]!)).toBeUndefined();
  });

  it.each([0, 1, 2])('should compare with every byte of every key, whichever matches: %i', async (which) => {
    const { texts, keys } = await keysOf('one', 'two', 'three');
    const watched = keys.map(({ name, hash }) => ({ name, ...counted(hash) }));
    const asKeys = watched.map(({ name, proxy }) => ({ name, hash: proxy }));
    expect((await findKey(asKeys, texts[which]!))?.name).toBe(keys[which]!.name);
    expect(watched.map(({ reads }) => reads.count)).toEqual([32, 32, 32]);
  });
});

describe('sameBytes', () => {
  it.each([0, 15, 31])('should read all bytes where the first difference is at %i', (position) => {
    const a = new Uint8Array(32).fill(7);
    const b = Uint8Array.from(a);
    b[position] = 8;
    const { proxy, reads } = counted(a);
    expect(sameBytes(proxy, b)).toBe(false);
    expect(reads.count).toBe(32);
  });

  it('should distinguish equal from unequal, in length too', () => {
    expect(sameBytes(new Uint8Array([1, 2]), new Uint8Array([1, 2]))).toBe(true);
    expect(sameBytes(new Uint8Array([1, 2]), new Uint8Array([1, 2, 0]))).toBe(false);
  });
});
