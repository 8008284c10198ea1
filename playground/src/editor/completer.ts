/**
 * Completions while typing, as an editor's plug-in requests them: after a pause that follows the latency, one at a
 * time. What is typed along with a completion is taken from it, whether it is shown or still on its way; only other
 * text needs another request. The first candidate uses the decoding settings; the others have other seeds.
 */
import type { Result } from '../service/completions.ts';
import { Pause } from './pause.ts';

/** Candidates per cursor position; after the last one the first is shown again. */
const MAX_CANDIDATES = 5;

/** Tries to get a new candidate. */
const TRIES = 3;

export interface CompleterOptions {
  /** The completion at the cursor, undefined if none can be requested. `variant` 0 is the first candidate. */
  ask: (variant: number, signal: AbortSignal) => Promise<Result | undefined>;
  onAnswer: (result: Result) => void;
  show: (text: string, position: { index: number; count: number }) => void;
  /** Neither an error nor text: the confidence was too low, or the completion empty. */
  onNothing: (result: Result) => void;
  onProblem: (error: unknown) => void;
  onBusy: (busy: boolean) => void;
}

/** A request without its answer, and what has been typed since. */
interface Running {
  controller: AbortController;
  startMs: number;
  along: string;
}

export class Completer {
  readonly #options: CompleterOptions;
  readonly #pause = new Pause();
  #timer: number | undefined;
  #running: Running | undefined;
  #candidates: string[] = [];
  #index = 0;
  #variant = 0;

  constructor(options: CompleterOptions) {
    this.#options = options;
  }

  /** Milliseconds from a key to the request. */
  get pauseMs(): number {
    return this.#pause.ms;
  }

  /** Text was put in at the cursor. If a completion begins with it, the rest of that stays. */
  typed(text: string): void {
    const rests = this.#candidates.map((candidate) => restOf(candidate, text));
    const current = rests[this.#index];
    if (current !== undefined) {
      this.#candidates = [...new Set(rests.filter((rest) => rest !== undefined))];
      this.#index = this.#candidates.indexOf(current);
      return;
    }
    this.#forget();
    if (this.#running !== undefined) this.#running.along += text;
    this.#later();
  }

  /** The text has changed in another way, or the settings have: requests a completion after a pause. */
  changed(): void {
    this.cancel();
    this.#later();
  }

  cancel(): void {
    window.clearTimeout(this.#timer);
    this.#abandon();
    this.#forget();
  }

  /** Shows the next or the previous candidate, and requests one more at the end. */
  async cycle(direction: 1 | -1): Promise<void> {
    const count = this.#candidates.length;
    if (count === 0) return this.#first();
    const next = this.#index + direction;
    if (next >= count && count < MAX_CANDIDATES && (await this.#another())) return;
    if (this.#candidates.length === 0) return;
    this.#index = (next + this.#candidates.length) % this.#candidates.length;
    this.#showCurrent();
  }

  async #first(): Promise<void> {
    this.cancel();
    const answer = await this.#ask(0);
    if (answer === undefined) return;
    const { result, along } = answer;
    if (result.text === '' && along === '') return this.#options.onNothing(result);
    const rest = restOf(result.text, along);
    // Something else was typed: the next request is on its way.
    if (rest === undefined) return;
    window.clearTimeout(this.#timer);
    this.#candidates = [rest];
    this.#showCurrent();
  }

  /** Requests candidates until one is new. Returns whether there was one, or none is wanted any more. */
  async #another(): Promise<boolean> {
    for (let tried = 0; tried < TRIES; tried++) {
      const answer = await this.#ask(++this.#variant);
      if (answer === undefined) return true;
      const rest = restOf(answer.result.text, answer.along);
      if (rest === undefined || this.#candidates.includes(rest)) continue;
      this.#candidates.push(rest);
      this.#index = this.#candidates.length - 1;
      this.#showCurrent();
      return true;
    }
    return false;
  }

  /** Undefined if it was aborted or failed. */
  async #ask(variant: number): Promise<{ result: Result; along: string } | undefined> {
    this.#abandon();
    const running: Running = { controller: new AbortController(), startMs: performance.now(), along: '' };
    const { signal } = running.controller;
    this.#running = running;
    this.#options.onBusy(true);
    try {
      const result = await this.#options.ask(variant, signal);
      if (signal.aborted || result === undefined) return undefined;
      this.#pause.answered(result.cost.totalMs);
      this.#options.onAnswer(result);
      return { result, along: running.along };
    } catch (error) {
      if (!signal.aborted) this.#options.onProblem(error);
      return undefined;
    } finally {
      if (this.#running === running) {
        this.#running = undefined;
        this.#options.onBusy(false);
      }
    }
  }

  #later(): void {
    window.clearTimeout(this.#timer);
    this.#timer = window.setTimeout(() => void this.#first(), this.#pause.ms);
  }

  #abandon(): void {
    if (this.#running === undefined) return;
    this.#pause.abandoned(performance.now() - this.#running.startMs);
    this.#running.controller.abort(new DOMException('typed on', 'AbortError'));
    this.#running = undefined;
    this.#options.onBusy(false);
  }

  #forget(): void {
    this.#candidates = [];
    this.#index = 0;
    this.#variant = 0;
  }

  #showCurrent(): void {
    const { length } = this.#candidates;
    this.#options.show(this.#candidates[this.#index]!, { index: this.#index, count: length });
  }
}

/** What is left of a completion after its beginning was typed; undefined if nothing is, or something else was. */
function restOf(completion: string, typed: string): string | undefined {
  return completion.startsWith(typed) && completion.length > typed.length ? completion.slice(typed.length) : undefined;
}
