/**
 * The contexts of a three-stream model, kept across requests: one cache for each side of the cursor, one memory for
 * both. As the room of the admission queue they let in as many requests as their contexts fit.
 */

import type { Denoiser } from '../../denoiser/three-stream/denoiser.ts';
import { pagesOf } from '../../denoiser/three-stream/kv-cache.ts';
import { BLOCK_TOKENS } from '../../denoiser/transformer/pointers.ts';
import type { Need, Room, Ticket } from '../admission-queue.ts';
import { ContextMemory } from './context-memory.ts';
import { PrefixCache } from './prefix-cache.ts';

/** Weight of the newest pass in the mean time to read a token. */
const NEWEST_SHARE = 0.1;
/**
 * A request that would displace what other clients type in waits this many times as long as it takes to read its
 * context: at most a fifth of the time goes into reading again.
 */
const PATIENCE_IN_READS = 4;

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
    this.#memory = new ContextMemory(denoiser.pool, [...prefixContexts, ...suffixContexts]);
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
    const used = this.#cached(need).filter(({ matched }) => matched >= BLOCK_TOKENS);
    const cached = used.reduce((sum, { matched }) => sum + Math.floor(matched / BLOCK_TOKENS), 0);
    return this.#pagesFor(need) - cached > this.#memory.availablePages(used.map(({ context }) => context));
  }

  patienceMs(need: Need): number {
    const tokens = need.prefix.length + need.suffix.length;
    const missing = this.#cached(need).reduce((left, { matched }) => left - matched, tokens);
    return PATIENCE_IN_READS * missing * this.#readMsPerToken;
  }

  /** The contexts that it would begin with. */
  #cached({ prefix, suffix }: Need) {
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
