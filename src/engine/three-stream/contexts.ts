/**
 * The contexts of a three-stream model, kept across requests: one cache for each side of the cursor, one memory for
 * both. As the room of the admission queue they let in as many requests as their contexts fit, and they tell which
 * windows there is room for.
 */

import { nearWindows } from '../../denoiser/three-stream/config.ts';
import type { Denoiser } from '../../denoiser/three-stream/denoiser.ts';
import { type KvCache, pagesOf } from '../../denoiser/three-stream/kv-cache.ts';
import { BLOCK_TOKENS } from '../../denoiser/transformer/pointers.ts';
import type { Need, Room, Ticket } from '../admission-queue.ts';
import { ContextMemory, windowTokens } from './context-memory.ts';
import { PrefixCache } from './prefix-cache.ts';

/** Weight of the newest pass in the mean time to read a token. */
const NEWEST_SHARE = 0.1;
/**
 * A request that would displace what other clients type in waits this many times as long as it takes to read its
 * context: at most a fifth of the time goes into reading again.
 */
const PATIENCE_IN_READS = 4;

/** The longest output that editors ask for (llama.vim). Nearly all completions are far shorter: it is not counted. */
export const SHORT_OUTPUT = 128;

/** Both sides of the cursor, as far as they are read. */
type Sides = Pick<Need, 'prefix' | 'suffix'>;

export class Contexts implements Room {
  readonly prefixes: PrefixCache;
  readonly suffixes: PrefixCache;
  /** As many requests can hold contexts at a time. */
  readonly count: number;
  readonly #denoiser: Denoiser;
  readonly #memory: ContextMemory;
  #readMsPerToken = 0;

  constructor(denoiser: Denoiser) {
    const { prefixContexts, suffixContexts } = denoiser;
    this.#denoiser = denoiser;
    // With both markers.
    const sizes = nearWindows(denoiser.config).map(({ prefixTokens, suffixTokens }) => prefixTokens + suffixTokens + 2);
    this.#memory = new ContextMemory(denoiser.pool, [...prefixContexts, ...suffixContexts], sizes);
    this.prefixes = new PrefixCache(this.#memory, prefixContexts);
    this.suffixes = new PrefixCache(this.#memory, suffixContexts);
    this.count = prefixContexts.length;
  }

  /** Lets other requests take the contexts of a request; their contents are kept until then. */
  release(owner: Ticket): void {
    this.#memory.release(owner);
  }

  /** A pass took so long to read so many tokens. */
  noteRead(tokens: number, ms: number): void {
    if (tokens > 0) this.#readMsPerToken += NEWEST_SHARE * (ms / tokens - this.#readMsPerToken);
  }

  fits(need: Need, active: readonly Need[]): boolean {
    const pages = active.reduce((sum, other) => sum + this.#pagesFor(other), this.#pagesFor(need));
    return pages <= this.#memory.pages;
  }

  displaces(need: Need): boolean {
    const { contexts, pages: missing } = this.#use(need);
    const pages = missing + (need.output > SHORT_OUTPUT ? pagesOf(need.output) : 0);
    // A context that grows by a page displaces as little.
    return pages > 1 && pages > this.#memory.availablePages(contexts, windowTokens(need));
  }

  /** Tokens of both sides that no context has. */
  missing(window: Sides): number {
    const tokens = window.prefix.length + window.suffix.length;
    return this.#cached(window).reduce((left, { matched }) => left - matched, tokens);
  }

  /** Whether the window can be read without displacing what others type in, besides what those in the queue need. */
  hasRoomFor(window: Sides, others: readonly Sides[]): boolean {
    const { contexts, pages } = this.#use(window);
    const needed = others.reduce((sum, other) => sum + this.#use(other).pages, pages);
    return needed <= this.#memory.availablePages(contexts, windowTokens(window));
  }

  /** A request that waits, or is about to, begins with these contexts: nobody else should displace them now. */
  keep(window: Sides): void {
    for (const { context } of this.#used(window)) this.#memory.touch(context);
  }

  patienceMs(need: Need): number {
    return PATIENCE_IN_READS * this.missing(need) * this.#readMsPerToken;
  }

  /**
   * The contexts that a request would begin with, and the pages that it needs besides, without those of its output.
   */
  #use(window: Sides): { contexts: KvCache[]; pages: number } {
    const used = this.#used(window);
    const cached = used.reduce((sum, { matched }) => sum + Math.floor(matched / BLOCK_TOKENS), 0);
    const pages = Math.max(0, this.#pagesFor({ ...window, output: 0 }) - cached);
    return { contexts: used.map(({ context }) => context), pages };
  }

  #used(window: Sides) {
    return this.#cached(window).filter(({ matched }) => matched >= BLOCK_TOKENS);
  }

  /** The best contexts, whatever they have of it. */
  #cached({ prefix, suffix }: Sides) {
    return [this.prefixes.best(prefix), this.suffixes.best(suffix)];
  }

  /** Pages that a request holds at most. */
  #pagesFor({ prefix, suffix, output }: Need): number {
    const { prefixContexts, suffixContexts, config } = this.#denoiser;
    const tokens = prefix.length + output + config.diffusion.canvasSlots;
    return (
      pagesOf(Math.min(prefixContexts[0]!.capacity, tokens)) +
      pagesOf(Math.min(suffixContexts[0]!.capacity, suffix.length))
    );
  }
}
