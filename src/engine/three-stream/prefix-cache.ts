/**
 * Contexts kept across requests, found by their tokens. A key stroke changes the last tokens of a prefix: all before them are
 * computed already. Keys and values are exact whichever way they came about, so that a cached request gives the same bytes.
 *
 * A context belongs to nobody for good. A request claims one again for each step and computes what it finds missing; that
 * another took it in between costs time, never correctness.
 */

import type { Denoiser } from '../../denoiser/three-stream/denoiser.ts';
import type { KvCache } from '../../denoiser/three-stream/kv-cache.ts';
import type { Ticket } from '../admission-queue.ts';

export class PrefixCache {
  readonly #denoiser: Denoiser;
  /** Least recently used first. */
  readonly #contexts: KvCache[];
  readonly #owners = new Map<KvCache, Ticket>();
  /** Tokens of the prompt a context was last used for; what was generated behind them is of less worth. */
  readonly #promptLengths = new Map<KvCache, number>();
  /** Tokens that anybody may use of a context whose further ones were computed singly, and differ in their last bits. */
  readonly #exactLengths = new Map<KvCache, number>();

  constructor(denoiser: Denoiser, contexts: readonly KvCache[]) {
    this.#denoiser = denoiser;
    this.#contexts = [...contexts];
  }

  /**
   * A context that holds a beginning of `tokens` and nothing else: the longest there is. Of the tokens the first `promptLength` are
   * worth keeping. It is the owner's until released.
   * @param exactLength tokens that the owner extends the context by with `Denoiser.extend`; those behind them it computes singly
   *   (`Denoiser.extendAndPredict`), and takes from nobody else.
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

  release(owner: Ticket): void {
    for (const [context, ticket] of this.#owners) if (ticket === owner) this.#owners.delete(context);
  }

  /** The owner's context, as long as it holds a beginning of the tokens or the other way round. */
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
    // Another text that only begins alike is worth keeping beside this one.
    const sameText = matched >= (this.#promptLengths.get(best) ?? 0) / 2;
    if (sameText && !this.#owners.has(best)) return best;

    const oldest = this.#contexts.find((context) => !this.#owners.has(context)) ?? this.#contexts[0]!;
    if (oldest !== best) {
      this.#denoiser.copyContext(oldest, best, matched);
      this.#exactLengths.delete(oldest);
    }
    return oldest;
  }

  /** Length of the longest common beginning that whoever claims the context anew may use. */
  #matchLength(context: KvCache, tokens: ArrayLike<number>): number {
    const exactLength = this.#exactLengths.get(context) ?? Number.POSITIVE_INFINITY;
    return Math.min(context.matchLength(tokens), exactLength);
  }
}
