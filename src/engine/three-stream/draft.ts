/**
 * Speculative decoding (arXiv 2211.17192) with n-grams of the text as the draft model: one pass evaluates the draft
 * tokens together with the canvas that they follow, and they are accepted for as long as the sampler writes the same
 * tokens. So a draft changes no bit of a completion, at any temperature: it saves passes.
 */
import { type Predictions, predictionsOfRow } from '../../denoiser/transformer/predictions.ts';
import { draftOf } from '../../diffusion/context-ngrams.ts';
import type { Tokenizer } from '../../tokenizer/tokenizer.ts';
import type { Evaluation, Generation } from '../canvas-model.ts';

const LINE_FEED = 0x0a;

/** Draft tokens after the slot of a canvas, without what would not be shown. */
export function guessAfter(
  { prompt, written, request }: Generation,
  tokenizer: Tokenizer,
  mostTokens: number,
): number[] {
  const { ngrams, cursor, suffixStart } = prompt;
  if (ngrams === undefined || cursor?.token.agreeing(written) !== undefined) return [];
  // The slot of the canvas is one of those that are missing.
  const missing = request.maxTokens - (written.length - (cursor?.token.silentCount(written) ?? 0));
  const guess = draftOf(ngrams, written, Math.min(mostTokens, missing - 1));
  // Editors mostly end at the end of a line.
  const endsLine = (id: number | undefined) =>
    request.ends && id !== undefined && tokenizer.bytesOf(id).includes(LINE_FEED);
  const end = guess.findIndex((id, index) => suffixStart?.has(id) || endsLine(guess[index - 1]));
  return end < 0 ? guess : guess.slice(0, end);
}

/** The predictions of a pass for the canvases after the one that it was for, if the draft is written. */
export class EvaluatedDraft {
  readonly #start: number;
  readonly #draft: readonly number[];
  readonly #predictions: Predictions;
  readonly #canvasRow: number;

  /**
   * @param start tokens that had been written before the canvas
   * @param predictions a row for the canvas, then one for each token of the draft
   * @param canvasRow the row of the canvas
   */
  constructor(start: number, draft: readonly number[], predictions: Predictions, canvasRow: number) {
    this.#start = start;
    this.#canvasRow = canvasRow;
    this.#draft = draft;
    this.#predictions = predictions;
  }

  /** What the pass predicts for the canvas after these tokens; undefined if they are not those of the draft. */
  after(written: readonly number[]): Evaluation | undefined {
    const row = written.length - this.#start;
    if (row < 1 || row > this.#draft.length) return undefined;
    const isWritten = this.#draft.slice(0, row).every((id, index) => written[this.#start + index] === id);
    return isWritten
      ? { predictions: predictionsOfRow(this.#predictions, this.#canvasRow + row), slots: [0] }
      : undefined;
  }
}
