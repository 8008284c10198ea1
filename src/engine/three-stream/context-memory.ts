/**
 * Who holds which context, and which ones give way when pages are needed. Contexts of requests that are served keep
 * theirs. Of the others, those go first in which nobody types any more, then those of wider windows than the request
 * has that needs the pages, and within each of these the one that was used longest ago, its last pages first. So
 * clients with small windows do not displace each other while one with a larger one could read less.
 */

import type { KvCache } from '../../denoiser/three-stream/kv-cache.ts';
import type { PagePool } from '../../denoiser/three-stream/page-pool.ts';
import { BLOCK_TOKENS } from '../../denoiser/transformer/pointers.ts';
import type { Need, Ticket } from '../admission-queue.ts';

/**
 * The context of a client that types is used again within this time, unless it pauses for long. After it, little is
 * lost by giving its pages to somebody else.
 */
const TYPING_MS = 10_000;

/** In which order contexts give way. */
const IDLE = 0;
const WIDER = 1;
const KEPT = 2;

/** Tokens of context that a request reads. */
export function windowTokens({ prefix, suffix }: Pick<Need, 'prefix' | 'suffix'>): number {
  return prefix.length + suffix.length;
}

export class ContextMemory {
  readonly #pool: PagePool;
  /** All contexts, least recently used first. */
  readonly #contexts: KvCache[];
  /** Tokens of windows, ascending: windows up to the same one are of a size. */
  readonly #sizes: readonly number[];
  readonly #owners = new Map<KvCache, Ticket>();
  readonly #usedMs = new Map<KvCache, number>();
  /** Tokens of the window that a context was last used for. */
  readonly #windows = new Map<KvCache, number>();
  /** The prefix that a suffix was last used with. */
  readonly #partners = new Map<KvCache, KvCache>();

  constructor(pool: PagePool, contexts: readonly KvCache[], sizes: readonly number[] = []) {
    this.#pool = pool;
    this.#contexts = [...contexts];
    this.#sizes = sizes.toSorted((a, b) => a - b);
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
    this.touch(context);
    const window = owner.need ? windowTokens(owner.need) : tokens;
    this.#windows.set(context, window);
    const room = Math.min(tokens, context.capacity);
    this.#makeFree(context.missingPages(room), window);
    context.reserve(room);
  }

  /** Somebody types in the text of the context. */
  touch(context: KvCache): void {
    this.#usedMs.set(context, Date.now());
  }

  /** The context is used for another text from now on. */
  renew(context: KvCache): void {
    this.#partners.delete(context);
  }

  /** Nobody owns what the owner had of this kind, or of any. Contents are kept until pages are needed. */
  release(owner: Ticket, kind?: KvCache['kind']): void {
    const released = [...this.#owners].filter(([, ticket]) => ticket === owner).map(([context]) => context);
    const ofKind = (wanted: KvCache['kind']) => released.find((context) => context.kind === wanted);
    if (kind === undefined) this.#pair(ofKind('prefix'), ofKind('suffix'));
    for (const context of released) {
      if (kind !== undefined && context.kind !== kind) continue;
      this.#owners.delete(context);
      context.trim();
    }
  }

  /**
   * Pages that can be had without those of requests that are served, and of clients that type, except for what those
   * have of wider windows than one of so many tokens.
   */
  availablePages(except: readonly KvCache[], window: number): number {
    return this.#contexts
      .filter((context) => !this.#owners.has(context) && !except.includes(context))
      .filter((context) => this.#rank(context, window) < KEPT)
      .reduce((sum, { pages }) => sum + pages, this.#pool.free);
  }

  /** The window of a text has moved: nobody types any more in the prefix that its suffix was used with before. */
  #pair(prefix: KvCache | undefined, suffix: KvCache | undefined): void {
    if (prefix === undefined || suffix === undefined) return;
    const former = this.#partners.get(suffix);
    if (former !== undefined && former !== prefix) this.#usedMs.delete(former);
    this.#partners.set(suffix, prefix);
  }

  /** Truncates contexts that nobody owns, as long as that helps. */
  #makeFree(pages: number, window: number): void {
    if (this.#pool.free >= pages) return;
    const others = this.#contexts.filter((context) => !this.#owners.has(context));
    for (const context of others.toSorted((a, b) => this.#rank(a, window) - this.#rank(b, window))) {
      if (this.#pool.free >= pages) return;
      while (this.#pool.free < pages && context.pages > 0) context.truncate((context.pages - 1) * BLOCK_TOKENS);
    }
  }

  /** The lowest is displaced first. */
  #rank(context: KvCache, window: number): number {
    const usedMs = this.#usedMs.get(context) ?? Number.NEGATIVE_INFINITY;
    if (usedMs <= Date.now() - TYPING_MS) return IDLE;
    return this.#sizeOf(this.#windows.get(context) ?? 0) > this.#sizeOf(window) ? WIDER : KEPT;
  }

  #sizeOf(window: number): number {
    const size = this.#sizes.findIndex((tokens) => window <= tokens);
    return size < 0 ? this.#sizes.length : size;
  }
}
