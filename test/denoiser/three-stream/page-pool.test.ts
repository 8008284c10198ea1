import { describe, expect, it } from 'vitest';
import { KvCache, pagesOf } from '../../../src/denoiser/three-stream/kv-cache.ts';
import { NoFreePage, PagePool } from '../../../src/denoiser/three-stream/page-pool.ts';

const PAGE_BYTES = 64;
const CAPACITY = 100;
const TABLE_BYTES = 16;

/** Contexts over a pool of `size` pages, and what their pages hold. */
function contextsOver(size: number, count = 2) {
  const memory = new WebAssembly.Memory({ initial: 1 });
  const pool = new PagePool(memory, 1024, size, PAGE_BYTES);
  const contexts = Array.from(
    { length: count },
    (_, index) => new KvCache('prefix', { memory, pool, table: index * TABLE_BYTES, capacity: CAPACITY }),
  );
  const pagesIn = ({ table, pages }: KvCache) => Array.from(new Uint32Array(memory.buffer, table, pages));
  const bytesAt = (page: number) => new Uint8Array(memory.buffer, page, PAGE_BYTES);
  return { pool, contexts, pagesIn, bytesAt };
}

const tokens = (count: number, first = 0) => Array.from({ length: count }, (_, index) => first + index);

describe('the pages of a context', () => {
  it('should be as many as its tokens need, and go back when it is truncated', () => {
    const { pool, contexts } = contextsOver(8);
    const [context] = contexts;
    for (const [length, pages] of [
      [1, 1],
      [32, 1],
      [33, 2],
      [100, 4],
    ] as const) {
      context!.append(tokens(length - context!.length, context!.length));
      expect([context!.pages, pool.free]).toEqual([pages, 8 - pages]);
    }
    context!.truncate(33);
    expect([context!.pages, pool.free]).toEqual([2, 6]);
    context!.truncate(0);
    expect([context!.pages, pool.free]).toEqual([0, 8]);
  });

  it('should include those reserved for a canvas until they are trimmed', () => {
    const { pool, contexts } = contextsOver(8);
    const [context] = contexts;
    context!.append(tokens(30));
    context!.reserve(40);
    expect([context!.pages, pool.free]).toEqual([2, 6]);
    context!.trim();
    expect([context!.pages, pool.free]).toEqual([1, 7]);
  });

  it('should be named in the table that the kernels read', () => {
    const { contexts, pagesIn } = contextsOver(8);
    for (const context of contexts) context.append(tokens(64));
    const all = contexts.flatMap(pagesIn);
    expect(all).toHaveLength(4);
    expect(new Set(all).size).toBe(4);
  });

  it('should be refused when none is free or the context is full, without a change to its tokens', () => {
    const { contexts } = contextsOver(3);
    const [first, second] = contexts;
    first!.append(tokens(64));
    expect(() => second!.append(tokens(33))).toThrow(NoFreePage);
    expect(second!.length).toBe(0);
    expect(() => first!.append(tokens(37))).toThrow('101 tokens in a context of 100');
    expect(first!.length).toBe(64);
  });
});

describe('contexts that share pages', () => {
  it('should hold the same ones until one of them writes, which then has a copy', () => {
    const { pool, contexts, pagesIn, bytesAt } = contextsOver(8);
    const [first, second] = contexts;
    first!.append(tokens(70));
    for (const [index, page] of pagesIn(first!).entries()) bytesAt(page).fill(index + 1);
    second!.shareFrom(first!, 40);
    expect(Array.from(second!.tokens)).toEqual(tokens(40));
    expect(pagesIn(second!)).toEqual(pagesIn(first!).slice(0, 2));
    expect(pool.free).toBe(5);

    const before = pagesIn(first!);
    expect(second!.missingPages(41)).toBe(1);
    second!.append([7]);
    expect(pagesIn(first!)).toEqual(before);
    const [shared, own] = pagesIn(second!);
    expect(shared).toBe(before[0]);
    expect(own).not.toBe(before[1]);
    expect(Array.from(bytesAt(own!))).toEqual(Array(PAGE_BYTES).fill(2));
    expect(pool.free).toBe(4);
  });

  it('should free a page when the last of them gives it back', () => {
    const { pool, contexts } = contextsOver(8, 3);
    const [first, second, third] = contexts;
    first!.append(tokens(64));
    second!.shareFrom(first!, 64);
    third!.shareFrom(second!, 64);
    first!.truncate(0);
    second!.truncate(0);
    expect(pool.free).toBe(6);
    expect(Array.from(third!.tokens)).toEqual(tokens(64));
    third!.truncate(0);
    expect(pool.free).toBe(8);
  });

  it('should replace what a context held before', () => {
    const { pool, contexts } = contextsOver(8);
    const [first, second] = contexts;
    first!.append(tokens(20));
    second!.append(tokens(90, 500));
    second!.shareFrom(first!, 20);
    expect(Array.from(second!.tokens)).toEqual(tokens(20));
    expect([second!.pages, pool.free]).toEqual([pagesOf(20), 7]);
  });
});
