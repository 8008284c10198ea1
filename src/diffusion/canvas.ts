/**
 * The canvas: the slots of one block while it is denoised. It starts as masks; slots are revealed, may be edited, and
 * are dropped when an end token is revealed before them.
 */

import type { SpecialTokens } from '../tokenizer/tokenizer.ts';
import type { Choice } from './choice.ts';

export class Canvas {
  readonly slots: number;
  readonly #special: SpecialTokens;
  readonly #tokens: Int32Array; // (slots); <|mask|> where undecided
  readonly #logProbabilities: Float64Array; // (slots), natural logarithm, as of the reveal or the last edit
  readonly #edits: Uint16Array; // (slots); kept when a slot is dropped, so that editing ends
  readonly #alternatives: (readonly Choice[])[]; // (slots), as old as the log-probabilities
  readonly #evaluations: Uint16Array; // (slots): passes that computed the slot with the token it has
  #live: number;

  constructor(slots: number, special: SpecialTokens) {
    this.slots = slots;
    this.#special = special;
    this.#tokens = new Int32Array(slots).fill(special.mask);
    this.#logProbabilities = new Float64Array(slots);
    this.#edits = new Uint16Array(slots);
    this.#alternatives = Array(slots).fill([]);
    this.#evaluations = new Uint16Array(slots);
    this.#live = slots;
  }

  /** Tokens of the slots that exist: all, or those up to the first end token. */
  get tokens(): Int32Array {
    return this.#tokens.subarray(0, this.#live);
  }

  /** An end token has been revealed: it is the last of `tokens`. */
  get ended(): boolean {
    return this.#isEnd(this.#tokens[this.#live - 1]!);
  }

  isUndecided(slot: number): boolean {
    return this.#tokens[slot] === this.#special.mask;
  }

  editsOf(slot: number): number {
    return this.#edits[slot]!;
  }

  /** Passes that computed a decided slot with the token it has now. */
  evaluationCount(slot: number): number {
    return this.#evaluations[slot]!;
  }

  logProbabilityOf(slot: number): number {
    return this.#logProbabilities[slot]!;
  }

  /** The other candidates of the slot, if requested. */
  alternativesOf(slot: number): readonly Choice[] {
    return this.#alternatives[slot]!;
  }

  /** The undecided ones of the first `wanted` slots. */
  undecided(wanted: number): number[] {
    const slots: number[] = [];
    for (let slot = 0; slot < Math.min(wanted, this.#live); slot++) if (this.isUndecided(slot)) slots.push(slot);
    return slots;
  }

  /**
   * The slots that the next pass has to compute: those that are undecided, and the others until they have been computed
   * `freezeAfter` times with the token they have. Before the first time their keys and values are still those of a
   * mask.
   */
  unfrozen(freezeAfter: number): number[] {
    const slots: number[] = [];
    for (let slot = 0; slot < this.#live; slot++) {
      if (this.isUndecided(slot) || this.#evaluations[slot]! < freezeAfter) slots.push(slot);
    }
    return slots;
  }

  /** Counts a pass that has computed these slots. */
  recordEvaluation(slots: Iterable<number>): void {
    for (const slot of slots) if (!this.isUndecided(slot)) this.#evaluations[slot]!++;
  }

  /** Slots before the first undecided one. */
  decidedRun(): number {
    const first = this.tokens.indexOf(this.#special.mask);
    return first < 0 ? this.#live : first;
  }

  /** Text tokens of the first `count` slots that exist: masks and the end token are left out. */
  text(count: number): number[] {
    return Array.from(this.tokens.subarray(0, count)).filter((id) => id !== this.#special.mask && !this.#isEnd(id));
  }

  reveal(slot: number, { token, logProbability }: Choice, alternatives: readonly Choice[] = []): void {
    this.#tokens[slot] = token;
    this.#logProbabilities[slot] = logProbability;
    this.#alternatives[slot] = alternatives;
    this.#evaluations[slot] = 0;
  }

  edit(slot: number, choice: Choice, alternatives?: readonly Choice[]): void {
    this.reveal(slot, choice, alternatives);
    this.#edits[slot]!++;
  }

  /**
   * Drops the slots after the first end token, and restores those that were dropped after one that has been edited
   * away.
   */
  dropBehindEnd(): void {
    const end = this.#tokens.findIndex((token) => this.#isEnd(token));
    this.#live = end < 0 ? this.slots : end + 1;
    this.#tokens.fill(this.#special.mask, this.#live);
  }

  /** Masks every slot again. */
  restart(): void {
    this.#tokens.fill(this.#special.mask);
    this.#edits.fill(0);
    this.#evaluations.fill(0);
    this.#live = this.slots;
  }

  #isEnd(token: number): boolean {
    return token === this.#special.eom || token === this.#special.endOfText;
  }
}
