/**
 * Completions while typing, as an editor's plug-in requests them: after a pause, one at a time, aborted at the next
 * key. The first candidate uses the decoding settings; the others have other seeds.
 */
import { debounced } from '../dom.ts';
import type { Result } from '../service/completions.ts';

const TYPING_PAUSE_MS = 150;

/** Candidates per cursor position; after the last one the first is shown again. */
const MAX_CANDIDATES = 5;

/** Tries to get a new candidate. */
const TRIES = 3;

export interface CompleterOptions {
  /** The completion at the cursor, undefined if none can be requested. `variant` 0 is the first candidate. */
  ask: (variant: number, signal: AbortSignal) => Promise<Result | undefined>;
  show: (text: string, position: { index: number; count: number }) => void;
  /** Neither an error nor text: the confidence was too low, or the completion empty. */
  onNothing: (result: Result) => void;
  onProblem: (error: unknown) => void;
  onBusy: (busy: boolean) => void;
}

export class Completer {
  readonly #options: CompleterOptions;
  readonly #later: ReturnType<typeof debounced>;
  #running: AbortController | undefined;
  #candidates: string[] = [];
  #index = 0;
  #variant = 0;

  constructor(options: CompleterOptions) {
    this.#options = options;
    this.#later = debounced(() => void this.#first(), TYPING_PAUSE_MS);
  }

  /** The text has changed: aborts the active request, and requests the next completion after a pause. */
  changed(): void {
    this.cancel();
    this.#later();
  }

  cancel(): void {
    this.#later.cancel();
    if (this.#running) {
      this.#running.abort(new DOMException('typed on', 'AbortError'));
      this.#running = undefined;
      this.#options.onBusy(false);
    }
    this.#candidates = [];
    this.#index = 0;
    this.#variant = 0;
  }

  /** Shows the next or the previous candidate, and requests one more at the end. */
  async cycle(direction: 1 | -1): Promise<void> {
    const count = this.#candidates.length;
    if (count === 0) return this.#first();
    const next = this.#index + direction;
    if (next >= count && count < MAX_CANDIDATES && (await this.#another())) return;
    this.#index = (next + this.#candidates.length) % this.#candidates.length;
    this.#showCurrent();
  }

  async #first(): Promise<void> {
    this.cancel();
    const result = await this.#ask(0);
    if (result === undefined) return;
    if (result.text === '') return this.#options.onNothing(result);
    this.#candidates = [result.text];
    this.#showCurrent();
  }

  /** Requests candidates until one is new. Returns whether there was one. */
  async #another(): Promise<boolean> {
    for (let tried = 0; tried < TRIES; tried++) {
      const result = await this.#ask(++this.#variant);
      if (result === undefined) return true;
      if (result.text === '' || this.#candidates.includes(result.text)) continue;
      this.#candidates.push(result.text);
      this.#index = this.#candidates.length - 1;
      this.#showCurrent();
      return true;
    }
    return false;
  }

  /** Undefined if it was aborted or failed. */
  async #ask(variant: number): Promise<Result | undefined> {
    this.#running?.abort(new DOMException('another one is wanted', 'AbortError'));
    const controller = new AbortController();
    this.#running = controller;
    this.#options.onBusy(true);
    try {
      const result = await this.#options.ask(variant, controller.signal);
      return controller.signal.aborted ? undefined : result;
    } catch (error) {
      if (!controller.signal.aborted) this.#options.onProblem(error);
      return undefined;
    } finally {
      if (this.#running === controller) this.#options.onBusy(false);
    }
  }

  #showCurrent(): void {
    const { length } = this.#candidates;
    this.#options.show(this.#candidates[this.#index]!, { index: this.#index, count: length });
  }
}
