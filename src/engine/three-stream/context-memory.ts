/**
 * Who holds which context, and which ones give way when pages are needed. Contexts of requests that are served keep
 * theirs; of the others, the one that was used longest ago gives up its last pages first.
 */

import type { KvCache } from '../../denoiser/three-stream/kv-cache.ts';
import type { PagePool } from '../../denoiser/three-stream/page-pool.ts';
import { BLOCK_TOKENS } from '../../denoiser/transformer/pointers.ts';
import type { Ticket } from '../admission-queue.ts';

/**
 * The context of a client that types is used again within this time: so long do most pauses to think or read last.
 * After it, nothing is lost by giving its pages to somebody else.
 */
const TYPING_MS = 3_000;

export class ContextMemory {
  readonly #pool: PagePool;
  /** All contexts, least recently used first. */
  readonly #contexts: KvCache[];
  readonly #owners = new Map<KvCache, Ticket>();
  readonly #usedMs = new Map<KvCache, number>();

  constructor(pool: PagePool, contexts: readonly KvCache[]) {
    this.#pool = pool;
    this.#contexts = [...contexts];
  }

  /** Pages of the memory, free or not. */
  get pages(): number {
    return this.#pool.size;
  }

  ownerOf(context: KvCache): Ticket | undefined {
    return this.#owners.get(context);
  }

  /** Contexts of a kind that no request owns, least recently used first. */
  idle(kind: KvCache['kind']): KvCache[] {
    return this.#contexts.filter((context) => context.kind === kind && !this.#owners.has(context));
  }

  /** The context belongs to the owner until released, and has room for `tokens` tokens. Throws NoFreePage. */
  own(context: KvCache, owner: Ticket, tokens: number): void {
    this.#contexts.splice(this.#contexts.indexOf(context), 1);
    this.#contexts.push(context);
    this.#owners.set(context, owner);
    this.#usedMs.set(context, Date.now());
    const room = Math.min(tokens, context.capacity);
    this.#makeFree(context.missingPages(room));
    context.reserve(room);
  }

  /** Nobody owns what the owner had of this kind, or of any. Contents are kept until pages are needed. */
  release(owner: Ticket, kind?: KvCache['kind']): void {
    for (const [context, ticket] of this.#owners) {
      if (ticket !== owner || (kind !== undefined && context.kind !== kind)) continue;
      this.#owners.delete(context);
      context.trim();
    }
  }

  /** Pages that can be had without those of requests that are served, and of clients that type. */
  availablePages(except: readonly KvCache[]): number {
    const sinceMs = Date.now() - TYPING_MS;
    return this.#contexts
      .filter((context) => !this.#owners.has(context) && !except.includes(context))
      .filter((context) => (this.#usedMs.get(context) ?? 0) <= sinceMs)
      .reduce((sum, { pages }) => sum + pages, this.#pool.free);
  }

  /** Truncates contexts that nobody owns, as long as that helps. */
  #makeFree(pages: number): void {
    for (const context of this.#contexts) {
      if (this.#pool.free >= pages) return;
      if (this.#owners.has(context)) continue;
      while (this.#pool.free < pages && context.pages > 0) context.truncate((context.pages - 1) * BLOCK_TOKENS);
    }
  }
}
