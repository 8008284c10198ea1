/**
 * The canvas: the slots of one block while it is denoised. It starts as masks; slots are revealed, may be edited, and
 * are dropped when an end token is revealed before them.
 *
 * The network sees rows, and predicts slots. Row j is the token of slot j; shifted, as a language model has it, row 0
 * is the token before the canvas and row j the token of slot j - 1. Either way row j predicts slot j.
 */

import { isEnd, type SpecialTokens } from '../tokenizer/tokenizer.ts';
import type { Choice } from './choice.ts';

/** No token has this id. */
const NOT_COMPUTED = -1;

export class Canvas {
  readonly slots: number;
  readonly #special: SpecialTokens;
  readonly #tokens: Int32Array; // (slots); <|mask|> where undecided
  readonly #logProbabilities: Float64Array; // (slots), natural logarithm, as of the reveal or the last edit
  readonly #edits: Uint16Array; // (slots); kept when a slot is dropped, so that editing ends
  readonly #alternatives: (readonly Choice[])[]; // (slots), as old as the log-probabilities
  readonly #evaluations: Uint16Array; // (slots): passes that predicted the slot when it had the token it has
  readonly #computed: Int32Array; // (slots): tokens of the rows when they were last computed, NOT_COMPUTED before
  readonly #before: number | undefined;
  #live: number;

  /** @param before the token before the canvas, if predictions are shifted */
  constructor(slots: number, special: SpecialTokens, before?: number) {
    this.slots = slots;
    this.#special = special;
    this.#tokens = new Int32Array(slots).fill(special.mask);
    this.#logProbabilities = new Float64Array(slots);
    this.#edits = new Uint16Array(slots);
    this.#alternatives = Array(slots).fill([]);
    this.#evaluations = new Uint16Array(slots);
    this.#computed = new Int32Array(slots).fill(NOT_COMPUTED);
    this.#before = before;
    this.#live = slots;
  }

  /** Tokens of the slots that exist: all, or those up to the first end token. */
  get tokens(): Int32Array {
    return this.#tokens.subarray(0, this.#live);
  }

  /**
   * Tokens of the rows. Shifted, an end token has one as well, if there is room: the others see where the text ends.
   */
  get rows(): Int32Array {
    if (this.#before === undefined) return this.tokens;
    return Int32Array.of(this.#before, ...this.tokens).subarray(0, this.slots);
  }

  /** An end token has been revealed: it is the last of `tokens`. */
  get ended(): boolean {
    return isEnd(this.#tokens[this.#live - 1]!, this.#special);
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
   * The rows that the next pass has to compute: slots that are undecided, slots that were predicted less than
   * `freezeAfter` times with their current token, and slots whose keys and values belong to another token.
   */
  unfrozen(freezeAfter: number): number[] {
    const needsPrediction = (slot: number) => this.isUndecided(slot) || this.#evaluations[slot]! < freezeAfter;
    return [...this.rows.entries()]
      .filter(([row, token]) => (row < this.#live && needsPrediction(row)) || this.#computed[row] !== token)
      .map(([row]) => row);
  }

  /** Counts a pass that has computed these rows. */
  recordEvaluation(rows: Iterable<number>): void {
    const tokens = this.rows;
    for (const row of rows) {
      this.#computed[row] = tokens[row]!;
      if (row < this.#live && !this.isUndecided(row)) this.#evaluations[row]!++;
    }
  }

  /** Slots before the first undecided one. */
  decidedRun(): number {
    const first = this.tokens.indexOf(this.#special.mask);
    return first < 0 ? this.#live : first;
  }

  /** Text tokens of the first `count` slots that exist: masks and the end token are left out. */
  text(count: number): number[] {
    return Array.from(this.tokens.subarray(0, count)).filter(
      (id) => id !== this.#special.mask && !isEnd(id, this.#special),
    );
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
    const end = this.#tokens.findIndex((token) => isEnd(token, this.#special));
    this.#live = end < 0 ? this.slots : end + 1;
    this.#tokens.fill(this.#special.mask, this.#live);
  }

  /** Masks every slot again. */
  restart(): void {
    this.#tokens.fill(this.#special.mask);
    this.#edits.fill(0);
    this.#evaluations.fill(0);
    this.#computed.fill(NOT_COMPUTED);
    this.#live = this.slots;
  }
}
