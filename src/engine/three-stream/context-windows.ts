/**
 * How much of a text an editor's completion is computed from. The whole window if memory has room for it, else a near
 * one, else a narrow one: so that many clients keep a context each, instead of reading whole windows in turn that then
 * displace each other. What a context has already stays; what would have to be displaced counts only if nobody has
 * typed there for a while, or if it is a wider window than the one that is looked at.
 *
 * A whole window that has room but is not read yet is read between requests, and a near one is answered from meanwhile.
 */

import { type NearWindow, nearWindows } from '../../denoiser/three-stream/config.ts';
import type { Denoiser } from '../../denoiser/three-stream/denoiser.ts';
import { PREFILL_CHUNK_TOKENS } from '../../denoiser/transformer/memory.ts';
import type { AdmissionQueue, Ticket } from '../admission-queue.ts';
import type { Prompt } from '../prompt.ts';
import type { GenerateRequest } from '../types.ts';
import type { Contexts } from './contexts.ts';
import { nearPrompt } from './prompt.ts';
import { missingTokens, ReadAhead } from './read-ahead.ts';

/** A narrower window that saves less than a chunk of reading is not worth its shorter view. */
const LEAST_SAVED_TOKENS = PREFILL_CHUNK_TOKENS;

export class ContextWindows {
  readonly #contexts: Contexts;
  readonly #admission: Pick<AdmissionQueue, 'needsBeside'>;
  readonly #reader: ReadAhead;
  /** Widest first. */
  readonly #near: readonly NearWindow[];
  readonly #isShifted: boolean;

  constructor(denoiser: Denoiser, contexts: Contexts, admission: Pick<AdmissionQueue, 'length' | 'needsBeside'>) {
    this.#contexts = contexts;
    this.#admission = admission;
    this.#reader = new ReadAhead(denoiser, contexts, admission);
    this.#near = nearWindows(denoiser.config);
    this.#isShifted = denoiser.config.diffusion.isShifted;
  }

  /** See Engine. */
  get readAhead(): Promise<void> {
    return this.#reader.finished;
  }

  /**
   * @param ticket of the request, if it is in the queue
   * @param keepAlive see GenerateRequest
   */
  choose(whole: Prompt, ticket?: Ticket, keepAlive?: GenerateRequest['keepAlive']): Prompt {
    const windows = [whole, ...this.#near.map((near) => nearPrompt(whole, near, 0))];
    const others = this.#admission.needsBeside(ticket);
    const found = windows.findIndex((window) => this.#contexts.hasRoomFor(window, others));
    const level = found < 0 ? windows.length - 1 : found;
    const wanted = windows[level]!;
    const first = this.#firstOf(wanted, level);
    if (first !== wanted) this.#reader.want(wanted, keepAlive);
    this.#contexts.keep(first);
    return first;
  }

  /** The window itself, or what is answered from while it is being read. */
  #firstOf(wanted: Prompt, level: number): Prompt {
    const narrower = this.#near[level];
    if (narrower === undefined) return wanted;
    const first = nearPrompt(wanted, narrower, this.#contexts.suffixes.best(wanted.suffix).matched);
    const missing = this.#missing(first);
    // A near window itself is quickly read: only what is read already is worth a shorter view.
    const isWorthIt = level === 0 || missing < LEAST_SAVED_TOKENS;
    return isWorthIt && this.#missing(wanted) - missing >= LEAST_SAVED_TOKENS ? first : wanted;
  }

  #missing(prompt: Prompt): number {
    return missingTokens(this.#contexts, prompt, this.#isShifted);
  }
}
