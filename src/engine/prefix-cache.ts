/**
 * Contexts kept across requests, found by their tokens. A key stroke changes the last tokens of a prefix: all before them are
 * computed already. Keys and values are exact whichever way they came about, so that a cached request gives the same bytes.
 *
 * A context belongs to nobody for good. A request claims one again for each step and computes what it finds missing; that
 * another took it in between costs time, never correctness.
 */

import type { ContextStream } from '../denoiser/context.ts';
import type { Denoiser } from '../denoiser/denoiser.ts';
import type { Ticket } from './line.ts';

export class PrefixCache {
  readonly #denoiser: Denoiser;
  /** Least recently used first. */
  readonly #contexts: ContextStream[];
  readonly #owners = new Map<ContextStream, Ticket>();
  /** Tokens of the prompt a context was last used for; what was generated behind them is of less worth. */
  readonly #promptLengths = new Map<ContextStream, number>();

  constructor(denoiser: Denoiser, contexts: readonly ContextStream[]) {
    this.#denoiser = denoiser;
    this.#contexts = [...contexts];
  }

  /**
   * A context that holds a beginning of `tokens` and nothing else: the longest there is. Of the tokens the first `promptLength` are
   * worth keeping. It is the owner's until released.
   */
  claim(tokens: ArrayLike<number>, promptLength: number, owner: Ticket): ContextStream {
    const context = this.#owned(tokens, owner) ?? this.#find(tokens, owner);
    context.truncate(context.matchLength(tokens));
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
  #owned(tokens: ArrayLike<number>, owner: Ticket): ContextStream | undefined {
    return this.#contexts.find(
      (context) =>
        this.#owners.get(context) === owner && context.matchLength(tokens) === Math.min(context.length, tokens.length),
    );
  }

  #find(tokens: ArrayLike<number>, owner: Ticket): ContextStream {
    this.release(owner);
    const best = this.#contexts.reduce((a, b) => (b.matchLength(tokens) >= a.matchLength(tokens) ? b : a));
    const matched = best.matchLength(tokens);
    // Another text that only begins alike is worth keeping beside this one.
    const sameText = matched >= (this.#promptLengths.get(best) ?? 0) / 2;
    if (sameText && !this.#owners.has(best)) return best;

    const oldest = this.#contexts.find((context) => !this.#owners.has(context)) ?? this.#contexts[0]!;
    if (oldest !== best) this.#denoiser.copyContext(oldest, best, matched);
    return oldest;
  }
}
