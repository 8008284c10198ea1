/**
 * Contexts of one kind kept across requests, found by their tokens. A key stroke changes the last tokens of a prefix:
 * all before them are computed already. Keys and values have the same bits however they were computed, so that a cached
 * request gives the same bytes.
 *
 * A request claims a context again for each step and computes what is missing. If its context has been taken in
 * between, that costs time, never correctness.
 */

import type { KvCache } from '../../denoiser/three-stream/kv-cache.ts';
import type { Ticket } from '../admission-queue.ts';
import type { ContextMemory } from './context-memory.ts';

export interface Claim {
  readonly tokens: ArrayLike<number>;
  /** The first tokens, which are worth keeping. */
  readonly promptLength: number;
  readonly owner: Ticket;
  /** Tokens after these that a step stores. */
  readonly slots?: number;
  /**
   * Tokens that the owner computes with `Denoiser.extend`. It computes later ones otherwise, one by one
   * (`Denoiser.extendAndPredict`) or as rows of canvases (`View.rowsBefore`), and does not take them from other
   * requests.
   */
  readonly exactLength?: number;
}

export class PrefixCache {
  readonly #memory: ContextMemory;
  readonly #contexts: readonly KvCache[];
  /**
   * Length of the prompt a context was last used for; the tokens generated after it are less likely to be used again.
   */
  readonly #promptLengths = new Map<KvCache, number>();
  /**
   * Tokens of a context that all requests may use. Later ones were computed otherwise, and differ.
   */
  readonly #exactLengths = new Map<KvCache, number>();

  /** @param contexts of one kind, at least as many as requests are served at a time */
  constructor(memory: ContextMemory, contexts: readonly KvCache[]) {
    this.#memory = memory;
    this.#contexts = contexts;
  }

  /**
   * The context with the longest prefix of `tokens` and no other tokens, with room for all of them. It belongs to the
   * owner until released. Throws NoFreePage when the owners of all contexts need more than there is.
   */
  claim({ tokens, promptLength, owner, slots = 0, exactLength = Number.POSITIVE_INFINITY }: Claim): KvCache {
    const owned = this.#owned(tokens, owner);
    const context = owned ?? this.#find(tokens, owner);
    context.truncate(owned ? context.matchLength(tokens) : Math.min(this.#matchLength(context, tokens), exactLength));
    this.#exactLengths.set(context, exactLength);
    this.#promptLengths.set(context, promptLength);
    this.#memory.own(context, owner, tokens.length + slots);
    return context;
  }

  /** The context that a claim of these tokens would begin with, and how many of them it has. */
  best(tokens: ArrayLike<number>): { context: KvCache; matched: number } {
    let best = { context: this.#contexts[0]!, matched: -1 };
    for (const context of this.#contexts) {
      const matched = this.#matchLength(context, tokens);
      // Of equals one that nobody owns: it needs no copy.
      const isBetter = matched === best.matched && this.#memory.ownerOf(best.context) !== undefined;
      if (matched > best.matched || isBetter) best = { context, matched };
    }
    return best;
  }

  /** The owner's context, if it is a prefix of the tokens, or they are a prefix of it. */
  #owned(tokens: ArrayLike<number>, owner: Ticket): KvCache | undefined {
    return this.#contexts.find(
      (context) =>
        this.#memory.ownerOf(context) === owner &&
        context.matchLength(tokens) === Math.min(context.length, tokens.length),
    );
  }

  #find(tokens: ArrayLike<number>, owner: Ticket): KvCache {
    this.#memory.release(owner, this.#contexts[0]!.kind);
    const { context: best, matched } = this.best(tokens);
    // A different text that happens to share a prefix is worth keeping too.
    const sameText = matched >= Math.min(this.#promptLengths.get(best) ?? 0, best.length) / 2;
    if (sameText && this.#memory.ownerOf(best) === undefined) return best;

    const idle = this.#memory.idle(best.kind);
    const other = idle.find(({ length }) => length === 0) ?? idle[0]!;
    this.#memory.renew(other);
    if (other !== best) {
      other.shareFrom(best, matched);
      this.#exactLengths.delete(other);
    }
    return other;
  }

  /** Length of the common prefix that a new owner of the context may use. */
  #matchLength(context: KvCache, tokens: ArrayLike<number>): number {
    const exactLength = this.#exactLengths.get(context) ?? Number.POSITIVE_INFINITY;
    return Math.min(context.matchLength(tokens), exactLength);
  }
}
