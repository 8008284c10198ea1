/** The text of a completion while it is generated: tokens of finished canvases and of the current one. */

import type { Canvas } from '../diffusion/canvas.ts';
import type { Choice } from '../diffusion/choice.ts';
import { isSettled, type SamplerSettings } from '../diffusion/sampler.ts';
import type { Tokenizer } from '../tokenizer/tokenizer.ts';
import { findStop, lengthBeforePartialStop } from './stop-strings.ts';
import type { Alternative, EmittedToken, Frame } from './types.ts';

export class Transcript {
  readonly #tokenizer: Tokenizer;
  readonly #stops: readonly string[];
  readonly #tokens: number[] = [];
  readonly #logProbabilities: number[] = [];
  readonly #alternatives: (readonly Choice[])[] = [];
  #settled = '';

  constructor(tokenizer: Tokenizer, stops: readonly string[]) {
    this.#tokenizer = tokenizer;
    this.#stops = stops.filter((stop) => stop !== '');
  }

  /** Tokens of finished canvases. */
  get tokens(): readonly number[] {
    return this.#tokens;
  }

  /** Appends the first `wanted` slots of a finished canvas. */
  commit(canvas: Canvas, wanted: number): void {
    const tokens = canvas.text(wanted);
    tokens.forEach((token, slot) => {
      this.#tokens.push(token);
      this.#logProbabilities.push(canvas.logProbabilityOf(slot));
      this.#alternatives.push(canvas.alternativesOf(slot));
    });
  }

  /** Whether the decided text up to the first mask contains a stop string. */
  stopsIn(canvas: Canvas): boolean {
    return findStop(this.#decode(canvas.text(canvas.decidedRun())), this.#stops) >= 0;
  }

  /** The current state. Text is settled when no later step can change it: a revealed slot may still be edited. */
  frame(canvas: Canvas, settings: SamplerSettings): Frame {
    let fixed = 0;
    while (fixed < canvas.decidedRun() && isSettled(canvas, fixed, settings)) fixed++;
    this.#settle(this.#decode(canvas.text(fixed)));
    const text = this.#cut(this.#decode(canvas.text(canvas.slots)));
    // The bytes next to a mask may be incomplete characters.
    return { text: this.#settled + text.slice(this.#settled.length).replaceAll('\ufffd', ''), settled: this.#settled };
  }

  /** The finished text with its tokens, and their mean log-probability. */
  finish(): { text: string; tokens: EmittedToken[]; confidence: number } {
    const text = this.#cut(this.#decode([]));
    const decoder = this.#tokenizer.decoder();
    const tokens: EmittedToken[] = [];
    for (let length = 0; length < text.length; ) {
      const at = tokens.length;
      const piece = decoder.push([this.#tokens[at]!]);
      const alternatives = this.#alternatives[at]!;
      tokens.push({
        // A stop string may begin within the last token.
        text: text.slice(length, length + piece.length),
        logProbability: this.#logProbabilities[at]!,
        ...(alternatives.length > 0 && { alternatives: this.#named(at, alternatives) }),
      });
      length += piece.length;
    }
    const sum = tokens.reduce((total, { logProbability }) => total + logProbability, 0);
    return { text, tokens, confidence: tokens.length === 0 ? 0 : sum / tokens.length };
  }

  /** Alternatives of the token at an index by their names; the token itself is always one of them. */
  #named(at: number, alternatives: readonly Choice[]): Alternative[] {
    const taken = { token: this.#tokens[at]!, logProbability: this.#logProbabilities[at]! };
    const all = alternatives.some(({ token }) => token === taken.token) ? alternatives : [...alternatives, taken];
    return all.map(({ token, logProbability }) => ({ name: this.#tokenizer.nameOf(token), logProbability }));
  }

  #settle(text: string): void {
    const cut = this.#cut(text);
    const settled = cut.length < text.length ? cut : text.slice(0, lengthBeforePartialStop(text, this.#stops));
    // A restarted canvas will reach the same text, but has not yet.
    if (settled.length > this.#settled.length) this.#settled = settled;
  }

  /** Text of the finished canvases and `more`, without an unfinished character at its end. */
  #decode(more: readonly number[]): string {
    const decoder = this.#tokenizer.decoder();
    return decoder.push(this.#tokens) + decoder.push(more);
  }

  #cut(text: string): string {
    const stop = findStop(text, this.#stops);
    return stop < 0 ? text : text.slice(0, stop);
  }
}
