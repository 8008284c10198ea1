/**
 * Completions while typing, as an editor's plug-in asks for them: after a pause, one at a time, given up at the next key.
 * The first candidate is as the settings of decoding have it; the others are drawn from other seeds.
 */
import { debounced } from '../dom.ts';
import type { Result } from '../service/completions.ts';

const TYPING_PAUSE_MS = 150;

/** Candidates of one place; who has seen so many goes back to the first. */
const MAX_CANDIDATES = 5;

/** Tries for a candidate that is not there yet. */
const TRIES = 3;

export interface CompleterOptions {
  /** The completion at the cursor, undefined where none can be asked for. `variant` 0 is the first candidate. */
  ask: (variant: number, signal: AbortSignal) => Promise<Result | undefined>;
  show: (text: string, position: { index: number; count: number }) => void;
  /** Neither a problem nor text: the model was not sure, or had nothing to say. */
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

  /** Something was typed: what runs is given up, and the next completion is asked for after a pause. */
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

  /** Shows the next or the previous candidate, asking for one more at the end. */
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

  /** Asks for candidates until one is new; whether there was one. */
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

  /** Undefined when it was given up or failed. */
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
