/**
 * Contexts kept across requests, found by their tokens. A key stroke changes the last tokens of a prefix: all before
 * them are computed already. Keys and values have the same bits however they were computed, so that a cached request
 * gives the same bytes.
 *
 * A request claims a context again for each step and computes what is missing. If another request has taken it in
 * between, that costs time, never correctness.
 */

import type { Denoiser } from '../../denoiser/three-stream/denoiser.ts';
import type { KvCache } from '../../denoiser/three-stream/kv-cache.ts';
import type { Ticket } from '../admission-queue.ts';

export class PrefixCache {
  readonly #denoiser: Denoiser;
  /** Least recently used first. */
  readonly #contexts: KvCache[];
  readonly #owners = new Map<KvCache, Ticket>();
  /**
   * Length of the prompt a context was last used for; the tokens generated after it are less likely to be used again.
   */
  readonly #promptLengths = new Map<KvCache, number>();
  /**
   * Tokens of a context that all requests may use. Later ones were computed one by one, and differ in their last bits.
   */
  readonly #exactLengths = new Map<KvCache, number>();

  constructor(denoiser: Denoiser, contexts: readonly KvCache[]) {
    this.#denoiser = denoiser;
    this.#contexts = [...contexts];
  }

  /**
   * The context with the longest prefix of `tokens` and no other tokens. The first `promptLength` tokens are worth
   * keeping. It belongs to the owner until released.
   * @param exactLength tokens that the owner computes with `Denoiser.extend`; it computes later ones one by one
   *   (`Denoiser.extendAndPredict`), and does not take them from other requests.
   */
  claim(
    tokens: ArrayLike<number>,
    promptLength: number,
    owner: Ticket,
    exactLength = Number.POSITIVE_INFINITY,
  ): KvCache {
    const owned = this.#owned(tokens, owner);
    const context = owned ?? this.#find(tokens, owner);
    context.truncate(owned ? context.matchLength(tokens) : Math.min(this.#matchLength(context, tokens), exactLength));
    this.#exactLengths.set(context, exactLength);
    this.#contexts.splice(this.#contexts.indexOf(context), 1);
    this.#contexts.push(context);
    this.#owners.set(context, owner);
    this.#promptLengths.set(context, promptLength);
    return context;
  }

  /** The longest prefix of `tokens` that a context has and a new owner may use. */
  longestMatch(tokens: ArrayLike<number>): number {
    return Math.max(...this.#contexts.map((context) => this.#matchLength(context, tokens)));
  }

  release(owner: Ticket): void {
    for (const [context, ticket] of this.#owners) if (ticket === owner) this.#owners.delete(context);
  }

  /** The owner's context, if it is a prefix of the tokens or they are a prefix of it. */
  #owned(tokens: ArrayLike<number>, owner: Ticket): KvCache | undefined {
    return this.#contexts.find(
      (context) =>
        this.#owners.get(context) === owner && context.matchLength(tokens) === Math.min(context.length, tokens.length),
    );
  }

  #find(tokens: ArrayLike<number>, owner: Ticket): KvCache {
    this.release(owner);
    const matchLength = (context: KvCache) => this.#matchLength(context, tokens);
    const best = this.#contexts.reduce((a, b) => (matchLength(b) >= matchLength(a) ? b : a));
    const matched = matchLength(best);
    // A different text that happens to share a prefix is worth keeping too.
    const sameText = matched >= (this.#promptLengths.get(best) ?? 0) / 2;
    if (sameText && !this.#owners.has(best)) return best;

    const oldest = this.#contexts.find((context) => !this.#owners.has(context)) ?? this.#contexts[0]!;
    if (oldest !== best) {
      this.#denoiser.copyContext(oldest, best, matched);
      this.#exactLengths.delete(oldest);
    }
    return oldest;
  }

  /** Length of the common prefix that a new owner of the context may use. */
  #matchLength(context: KvCache, tokens: ArrayLike<number>): number {
    const exactLength = this.#exactLengths.get(context) ?? Number.POSITIVE_INFINITY;
    return Math.min(context.matchLength(tokens), exactLength);
  }
}
