/** The text of a completion while it is generated: tokens of finished canvases and of the current one. */

import type { Canvas } from '../diffusion/canvas.ts';
import type { Choice } from '../diffusion/choice.ts';
import type { CursorToken } from '../diffusion/cursor-token.ts';
import { isSettled, type SamplerSettings } from '../diffusion/sampler.ts';
import type { TokenDecoder, Tokenizer } from '../tokenizer/tokenizer.ts';
import { shortened } from './emitted-token.ts';
import { findStop, lengthBeforePartialStop, stopAt } from './stop-strings.ts';
import type { Alternative, Completion, EmittedToken, Ending, Frame, GenerateRequest } from './types.ts';
import { joinOf, lengthBeforeJoin } from './word-join.ts';

/** Where a text is cut, and why. */
interface Cut {
  at: number;
  ending: Ending;
}

export class Transcript {
  readonly #tokenizer: Tokenizer;
  readonly #stops: readonly string[];
  readonly #ends: GenerateRequest['ends'];
  readonly #cursor: CursorToken | undefined;
  readonly #suffixToJoin: string;
  readonly #tokens: number[] = [];
  readonly #logProbabilities: number[] = [];
  readonly #alternatives: (readonly Choice[])[] = [];
  #settled = '';
  /** Log-probability of the end token, when one was revealed. */
  #end: number | undefined;

  /**
   * @param cursor the text before the cursor that the first tokens repeat: not part of the completion
   * @param suffixToJoin the text after the cursor, if the completion ends where it joins that (word-join.ts)
   */
  constructor(
    tokenizer: Tokenizer,
    { stop, ends }: Pick<GenerateRequest, 'stop' | 'ends'>,
    cursor?: CursorToken,
    suffixToJoin = '',
  ) {
    this.#tokenizer = tokenizer;
    this.#cursor = cursor;
    this.#stops = stop.filter((text) => text !== '');
    this.#ends = ends;
    this.#suffixToJoin = suffixToJoin;
  }

  /** Tokens of finished canvases. */
  get tokens(): readonly number[] {
    return this.#tokens;
  }

  /** Tokens that a text of `maxTokens` may still get; tokens without text after the cursor do not count. */
  missing(maxTokens: number): number {
    return maxTokens - this.#tokens.length + this.#silentCount(this.#tokens);
  }

  /** Slots of a canvas that can still be emitted, as far as is known. */
  wanted(canvas: Canvas, maxTokens: number): number {
    const tokens = [...this.#tokens, ...canvas.text(canvas.decidedRun())];
    return Math.min(canvas.slots, maxTokens - this.#tokens.length + this.#silentCount(tokens));
  }

  /** Appends the first `wanted` slots of a finished canvas. */
  commit(canvas: Canvas, wanted: number): void {
    const tokens = canvas.text(wanted);
    tokens.forEach((token, slot) => {
      this.#tokens.push(token);
      this.#logProbabilities.push(canvas.logProbabilityOf(slot));
      this.#alternatives.push(canvas.alternativesOf(slot));
    });
    if (canvas.ended) this.#end = canvas.logProbabilityOf(canvas.tokens.length - 1);
  }

  /** Whether the decided text up to the first mask contains a stop string, or a place at which the caller ends it. */
  stopsIn(canvas: Canvas): boolean {
    return this.#cutOf(this.#decode(canvas.text(canvas.decidedRun()))) !== undefined;
  }

  /** The current state. Text is settled when no later step can change it: a revealed slot may still be edited. */
  frame(canvas: Canvas, settings: SamplerSettings): Frame {
    let fixed = 0;
    while (fixed < canvas.decidedRun() && isSettled(canvas, fixed, settings)) fixed++;
    this.#settle(this.#decode(canvas.text(fixed)));
    const text = this.#decode(canvas.text(canvas.decidedRun())) + this.#afterGaps(canvas);
    const cut = text.slice(0, this.#cutOf(text)?.at);
    return { text: this.#settled + cut.slice(this.#settled.length), settled: this.#settled };
  }

  /**
   * The finished completion, without its cost.
   * @param otherwise why it ended if neither its text nor the model ended it
   */
  finish(
    otherwise: 'max_tokens' | 'budget',
  ): Required<Omit<Completion, 'usage' | 'endLogProbability'>> & Pick<Completion, 'endLogProbability'> {
    const whole = this.#decode([]);
    const cut = this.#cutOf(whole, this.#end !== undefined);
    const text = whole.slice(0, cut?.at);
    const tokens = this.#tokensOf(text);
    const sum = tokens.reduce((total, { logProbability }) => total + logProbability, 0);
    const ending = cut?.ending ?? { by: this.#end === undefined ? otherwise : 'end' };
    // For an empty text, how confident the model was that it is empty.
    const silence =
      ending.by === otherwise ? 0 : (this.#logProbabilities[this.#silentCount(this.#tokens)] ?? this.#end ?? 0);
    // A text that joins the suffix ends there, however probable its tokens are.
    const endLogProbability = cut?.ending.by === 'end' ? 0 : this.#endOf(ending, text.length);
    return {
      text,
      tokens,
      ...(endLogProbability !== undefined && { endLogProbability }),
      confidence: tokens.length === 0 ? silence : sum / tokens.length,
      ending,
      finishReason: ending.by === otherwise ? 'length' : 'stop',
    };
  }

  /** Log-probability of the token that ended a text of this length; undefined where none did. */
  #endOf(ending: Ending, length: number): number | undefined {
    if (ending.by === 'end') return this.#end;
    if (ending.by !== 'stop') return undefined;
    const decoder = this.#decoder();
    const silent = this.#silentCount(this.#tokens);
    let at = 0;
    for (const [index, token] of this.#tokens.entries()) {
      if (at >= length && index >= silent) return this.#logProbabilities[index];
      at += decoder.push([token]).length;
    }
    return undefined;
  }

  /** The tokens of a beginning of the text. */
  #tokensOf(text: string): EmittedToken[] {
    const decoder = this.#decoder();
    const tokens: EmittedToken[] = [];
    const silent = this.#silentCount(this.#tokens);
    decoder.push(this.#tokens.slice(0, silent));
    for (let length = 0; length < text.length; ) {
      const at = silent + tokens.length;
      const token = this.#tokens[at]!;
      const piece = decoder.push([token]);
      const name = this.#tokenizer.nameOf(token, this.#bytesBeforeCursor(at));
      const alternatives = this.#alternatives[at]!;
      const emitted = {
        text: piece,
        logProbability: this.#logProbabilities[at]!,
        ...(name !== piece && { bytes: name }),
        ...(alternatives.length > 0 && { alternatives: this.#named(at, alternatives) }),
      };
      // A stop string may begin within the last token.
      tokens.push(shortened(emitted, text.length - length));
      length += piece.length;
    }
    return tokens;
  }

  /** Alternatives of the token at an index by their names; the token itself is always one of them. */
  #named(at: number, alternatives: readonly Choice[]): Alternative[] {
    const taken = { token: this.#tokens[at]!, logProbability: this.#logProbabilities[at]! };
    const all = alternatives.some(({ token }) => token === taken.token) ? alternatives : [...alternatives, taken];
    const skip = this.#bytesBeforeCursor(at);
    const before = this.#tokens.slice(0, at);
    // A token without text after the cursor has no name there.
    return all
      .filter(({ token }) => skip === 0 || !this.#cursor!.isSilent(before, token))
      .map(({ token, logProbability }) => ({ name: this.#tokenizer.nameOf(token, skip), logProbability }));
  }

  #silentCount(tokens: readonly number[]): number {
    return this.#cursor?.silentCount(tokens) ?? 0;
  }

  /** Of the token at an index. */
  #bytesBeforeCursor(at: number): number {
    return this.#cursor?.bytesBeforeCursor(this.#tokens.slice(0, at), this.#tokens[at]!) ?? 0;
  }

  #decoder(): TokenDecoder {
    return this.#tokenizer.decoder(this.#cursor?.begun.length);
  }

  #settle(text: string): void {
    const cut = this.#cutOf(text);
    const fixed = Math.min(lengthBeforePartialStop(text, this.#stops), lengthBeforeJoin(text, this.#suffixToJoin));
    const settled = text.slice(0, cut === undefined ? fixed : cut.at);
    // A restarted canvas will reach the same text, but has not yet.
    if (settled.length > this.#settled.length) this.#settled = settled;
  }

  /** Text of the finished canvases and `more`, without an unfinished character at its end. */
  #decode(more: readonly number[]): string {
    const decoder = this.#decoder();
    return decoder.push(this.#tokens) + decoder.push(more);
  }

  /**
   * Text that is decided after the first mask, each run decoded separately: the bytes next to a mask may be incomplete
   * characters.
   */
  #afterGaps(canvas: Canvas): string {
    const { mask } = this.#tokenizer.special;
    let text = '';
    let run: number[] = [];
    for (const token of [...canvas.tokens.subarray(canvas.decidedRun()), mask]) {
      if (token !== mask) run.push(token);
      else {
        text += this.#tokenizer.decode(run).replaceAll('\ufffd', '');
        run = [];
      }
    }
    return text;
  }

  /** The first place at which the text ends. @param isWhole the model has ended it */
  #cutOf(text: string, isWhole = false): Cut | undefined {
    const at = findStop(text, this.#stops);
    const upToStop = at < 0 ? text : text.slice(0, at);
    const end = this.#ends?.(upToStop);
    const join = joinOf(upToStop, this.#suffixToJoin, isWhole);
    if (join !== undefined && join <= (end ?? join)) return { at: join, ending: { by: 'end' } };
    if (end !== undefined && (at < 0 || end < at)) return { at: end, ending: { by: 'editor' } };
    return at < 0 ? undefined : { at, ending: { by: 'stop', stop: stopAt(text, at, this.#stops)! } };
  }
}
