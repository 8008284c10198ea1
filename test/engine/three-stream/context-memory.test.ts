import { afterEach, describe, expect, it, vi } from 'vitest';
import { KvCache } from '../../../src/denoiser/three-stream/kv-cache.ts';
import { NoFreePage, PagePool } from '../../../src/denoiser/three-stream/page-pool.ts';
import type { Ticket } from '../../../src/engine/admission-queue.ts';
import { ContextMemory } from '../../../src/engine/three-stream/context-memory.ts';
import { PrefixCache } from '../../../src/engine/three-stream/prefix-cache.ts';

const PAGES = 8;
const TABLE_BYTES = 64;

afterEach(() => {
  vi.restoreAllMocks();
});

function memoryOf(contexts: number, sizes: number[] = []) {
  const memory = new WebAssembly.Memory({ initial: 1 });
  const pool = new PagePool(memory, 4096, PAGES, 64);
  const all = Array.from(
    { length: contexts },
    (_, index) => new KvCache('prefix', { memory, pool, table: index * TABLE_BYTES, capacity: 32 * PAGES }),
  );
  const contextMemory = new ContextMemory(pool, all, sizes);
  return { pool, memory: contextMemory, cache: new PrefixCache(contextMemory, all) };
}

const ticket = (): Ticket => ({ lastSeenMs: 0, sinceMs: 0 });
/** A text of so many pages that has nothing in common with others. */
const text = (pages: number, first: number) => Array.from({ length: 32 * pages }, (_, index) => first * 1000 + index);

/** Claims a context and computes what it lacks. */
function read(cache: PrefixCache, tokens: number[], owner: Ticket): KvCache {
  const context = cache.claim({ tokens, promptLength: tokens.length, owner });
  context.append(tokens.slice(context.length));
  return context;
}

describe('ContextMemory', () => {
  it('should take pages from the context that was used longest ago, from its end', () => {
    const { memory, cache } = memoryOf(4);
    const [old, recent, now] = [ticket(), ticket(), ticket()];
    const oldest = read(cache, text(4, 1), old);
    const newer = read(cache, text(3, 2), recent);
    memory.release(old);
    memory.release(recent);
    read(cache, text(3, 3), now);
    expect([oldest.length, newer.length]).toEqual([2 * 32, 3 * 32]);
    expect(Array.from(oldest.tokens)).toEqual(text(4, 1).slice(0, 64));
  });

  it('should never take pages from a request that is served', () => {
    const { memory, cache } = memoryOf(4);
    const [served, idle] = [ticket(), ticket()];
    const kept = read(cache, text(5, 1), served);
    read(cache, text(2, 2), idle);
    memory.release(idle);
    expect(read(cache, text(3, 3), ticket()).length).toBe(3 * 32);
    expect(kept.length).toBe(5 * 32);
    expect(() => read(cache, text(1, 4), ticket())).toThrow(NoFreePage);
    expect(kept.length).toBe(5 * 32);
  });

  it('should count as available what is free and what nobody types in any more', () => {
    const now = vi.spyOn(Date, 'now').mockReturnValue(0);
    const { memory, cache } = memoryOf(4);
    const [served, idle] = [ticket(), ticket()];
    read(cache, text(2, 1), served);
    const left = read(cache, text(3, 2), idle);
    expect(memory.availablePages([], 0)).toBe(3);
    memory.release(idle);
    expect(memory.availablePages([], 0)).toBe(3);
    now.mockReturnValue(10_000);
    expect(memory.availablePages([], 0)).toBe(6);
    expect(memory.availablePages([left], 0)).toBe(3);
  });

  it('should take pages first from those with wider windows, but last from those of a size', () => {
    const { memory, cache } = memoryOf(4, [2 * 32, 4 * 32]);
    const used = (pages: number, first: number) => {
      const owner = ticket();
      const context = read(cache, text(pages, first), owner);
      memory.release(owner);
      return context;
    };
    const near = used(2, 1);
    const wide = used(5, 2);
    expect(memory.availablePages([], 2 * 32)).toBe(1 + 5);
    expect(memory.availablePages([], 3 * 32)).toBe(1 + 5);
    expect(memory.availablePages([], 5 * 32)).toBe(1);
    used(2, 3);
    expect([near.pages, wide.pages]).toEqual([2, 4]);
    // For a wide one nothing is wider: the one that was used longest ago gives way.
    used(5, 4);
    expect(near.pages).toBe(0);
  });

  it('should take pages first from a prefix whose window has moved', () => {
    const memory = new WebAssembly.Memory({ initial: 1 });
    const pool = new PagePool(memory, 4096, PAGES, 64);
    const parts = (table: number) => ({ memory, pool, table, capacity: 32 * PAGES });
    const contexts = [0, 1, 2, 3].map((index) => new KvCache('prefix', parts(index * TABLE_BYTES)));
    const suffix = new KvCache('suffix', parts(4 * TABLE_BYTES));
    const contextMemory = new ContextMemory(pool, [...contexts, suffix]);
    const [prefixes, suffixes] = [
      new PrefixCache(contextMemory, contexts),
      new PrefixCache(contextMemory, [suffix]),
    ] as const;
    const key = (prefix: number[]) => {
      const owner = ticket();
      read(suffixes, text(1, 9), owner);
      const context = read(prefixes, prefix, owner);
      contextMemory.release(owner);
      return context;
    };
    const other = ticket();
    const others = read(prefixes, text(2, 1), other);
    contextMemory.release(other);
    const former = key(text(2, 2));
    expect(contextMemory.availablePages([], 0)).toBe(3);
    const moved = key(text(2, 3));
    expect(contextMemory.availablePages([], 0)).toBe(1 + 2);
    read(prefixes, text(2, 4), ticket());
    expect([others.pages, former.pages, moved.pages]).toEqual([2, 1, 2]);
  });

  it('should find what is left of a context that gave up pages', () => {
    const { memory, cache } = memoryOf(4);
    const owner = ticket();
    const first = read(cache, text(6, 1), owner);
    memory.release(owner);
    const other = ticket();
    read(cache, text(4, 2), other);
    memory.release(other);
    const again = cache.claim({ tokens: text(6, 1), promptLength: 192, owner: ticket() });
    expect(again).toBe(first);
    expect(again.length).toBe(4 * 32);
  });
});
