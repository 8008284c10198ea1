/**
 * Reads between requests what a near window has left out, so that the next request finds it in the cache. Requests come
 * first: nothing is read while one is in the queue, and one that arrives waits for at most one small chunk.
 *
 * In the Workers runtime the loop belongs to the request that started it, and can stop for good at any await when that
 * request is gone. It is then taken for dead after a while, and the next request starts another one.
 */

import type { Denoiser } from '../../denoiser/three-stream/denoiser.ts';
import type { AdmissionQueue, Ticket } from '../admission-queue.ts';
import { pause } from '../pause.ts';
import type { Prompt } from '../prompt.ts';
import type { GenerateRequest } from '../types.ts';
import type { Contexts } from './contexts.ts';
import type { PrefixCache } from './prefix-cache.ts';

/** Tokens read at once: about two steps of a request. More rows of a pass gain little. */
const CHUNK_TOKENS = 8;
/** While requests are in the queue. */
const LOOK_AGAIN_MS = 10;
/** What could not be begun for so long is not read: a client that still types wants it again. */
const LONGEST_WAIT_MS = 10_000;
/** A loop that has not run for this time has lost its request. */
const ABANDONED_MS = 1_000;

export class ReadAhead {
  readonly #denoiser: Pick<Denoiser, 'config' | 'extend'>;
  readonly #contexts: Contexts;
  readonly #admission: Pick<AdmissionQueue, 'length'>;
  #wanted: Prompt | undefined;
  #wantedMs = 0;
  /** The loop that runs, if any. */
  #loop: { lastSeenMs: number } | undefined;
  #finished: Promise<void> = Promise.resolve();

  constructor(
    denoiser: Pick<Denoiser, 'config' | 'extend'>,
    contexts: Contexts,
    admission: Pick<AdmissionQueue, 'length'>,
  ) {
    this.#denoiser = denoiser;
    this.#contexts = contexts;
    this.#admission = admission;
  }

  /** Settles when what is wanted now is read. Never rejects: a request that needs it will read it, and fail. */
  get finished(): Promise<void> {
    return this.#finished;
  }

  /**
   * Reads this prompt as soon as no request is in the queue, instead of what was wanted before.
   * @param keepAlive of the request that wants it, see GenerateRequest: called if a loop has to be started
   */
  want(prompt: Prompt, keepAlive?: GenerateRequest['keepAlive']): void {
    this.#wanted = prompt;
    this.#wantedMs = Date.now();
    if (this.#loop !== undefined && Date.now() - this.#loop.lastSeenMs < ABANDONED_MS) return;
    const loop = { lastSeenMs: Date.now() };
    this.#loop = loop;
    this.#finished = this.#run(loop).catch(() => {
      this.#wanted = undefined;
      if (this.#loop === loop) this.#loop = undefined;
    });
    // No other request may wait for it: in the Workers runtime a promise belongs to the context that made it.
    keepAlive?.(this.#finished);
  }

  async #run(loop: { lastSeenMs: number }): Promise<void> {
    for (;;) {
      const isBusy = this.#admission.length > 0;
      await pause(isBusy ? LOOK_AGAIN_MS : 0);
      if (this.#loop !== loop) return;
      loop.lastSeenMs = Date.now();
      const isTooLate = loop.lastSeenMs - this.#wantedMs > LONGEST_WAIT_MS;
      if (this.#admission.length > 0 && !isTooLate) continue;
      if (!isTooLate && this.#wanted !== undefined && this.#readChunk(this.#wanted)) continue;
      this.#wanted = undefined;
      this.#loop = undefined;
      return;
    }
  }

  /** False when nothing is missing, or there is no room any more. */
  #readChunk(prompt: Prompt): boolean {
    if (!this.#contexts.hasRoomFor(prompt, [])) return false;
    const { prefixes, suffixes } = this.#contexts;
    const { isShifted } = this.#denoiser.config.diffusion;
    const { prefix, suffix } = prompt;
    const owner: Ticket = { lastSeenMs: 0, sinceMs: 0, need: { prefix, suffix, output: 0 } };
    const isRead = this.#read(prefixes, streamOf(prompt, isShifted), owner);
    return isRead || (suffix.length > 0 && this.#read(suffixes, suffix, owner));
  }

  /** Between chunks the context belongs to nobody: a request that needs it takes it. */
  #read(cache: PrefixCache, tokens: readonly number[], owner: Ticket): boolean {
    const known = cache.best(tokens).matched;
    if (known >= tokens.length) return false;
    const read = tokens.slice(0, known + CHUNK_TOKENS);
    try {
      const context = cache.claim({ tokens: read, promptLength: read.length, owner });
      this.#denoiser.extend(context, read.slice(context.length, context.length + CHUNK_TOKENS));
    } finally {
      this.#contexts.release(owner);
    }
    return true;
  }
}

/** Tokens of both streams that no context has. */
export function missingTokens(contexts: Contexts, prompt: Prompt, isShifted: boolean): number {
  return contexts.missing({ prefix: streamOf(prompt, isShifted), suffix: prompt.suffix });
}

/** The prefix stream: of a shifted model the last token is a row of the canvas. */
function streamOf({ prefix }: Prompt, isShifted: boolean): readonly number[] {
  return isShifted ? prefix.slice(0, -1) : prefix;
}
