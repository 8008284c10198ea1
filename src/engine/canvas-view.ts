/** What a step did to a canvas, slot by slot, to be shown. */

import type { Predictions } from '../denoiser/transformer/predictions.ts';
import type { Canvas } from '../diffusion/canvas.ts';
import { bestChoice } from '../diffusion/choice.ts';
import { mayBeSaid } from '../diffusion/sampler.ts';
import type { TextConstraint } from '../diffusion/text-constraint.ts';
import type { Tokenizer } from '../tokenizer/tokenizer.ts';
import type { SlotView } from './types.ts';

export interface CanvasStep {
  /** The canvas after the step. */
  canvas: Canvas;
  /** Its live tokens before the step. */
  before: Int32Array;
  predictions: Predictions;
  /** Row of the predictions for a slot; undefined if it has none. */
  rowOf: (slot: number) => number | undefined;
  /** Tokens that are allowed on the canvas; all tokens when absent. */
  text?: TextConstraint | undefined;
  /** Tokens before the canvas, which may end within a character. */
  written?: readonly number[];
  /** Bytes at the beginning of the completion that are before the cursor: they are not shown. */
  bytesBeforeCursor?: number | undefined;
}

/** Must be called before the next pass of the denoiser, which overwrites the predictions. */
export function slotViews(
  { canvas, before, predictions, rowOf, text, written = [], bytesBeforeCursor = 0 }: CanvasStep,
  tokenizer: Tokenizer,
): SlotView[] {
  const { special } = tokenizer;
  const after = canvas.tokens;
  const texts = textsOf(after, written, tokenizer, bytesBeforeCursor);

  function view(slot: number): SlotView {
    const was = before[slot];
    const token = after[slot];
    if (token === undefined) {
      return { state: 'dropped', text: '', confidence: 0, ...(was !== undefined && { change: 'drop' }) };
    }
    if (token === special.mask) {
      return { state: 'mask', ...guess(rowOf(slot)), ...(was !== special.mask && { change: 'remask' }) };
    }
    const change = was === special.mask || was === undefined ? 'reveal' : 'edit';
    return {
      state: canvas.ended && slot === after.length - 1 ? 'end' : 'token',
      text: texts[slot]!,
      confidence: Math.exp(canvas.logProbabilityOf(slot)),
      ...(token !== was && { change }),
    };
  }

  /** The best token of a row now. */
  function guess(row: number | undefined): Pick<SlotView, 'text' | 'confidence'> {
    if (row === undefined) return { text: '', confidence: 0 };
    const { token, logProbability } = bestChoice(predictions, row, (candidate) => mayBeSaid(candidate, special, text));
    return { text: wholeCharacters(tokenizer.decode([token])), confidence: Math.exp(logProbability) };
  }

  return Array.from({ length: canvas.slots }, (_, slot) => view(slot));
}

/** The characters that each slot completes; bytes on both sides of a mask complete none. */
function textsOf(tokens: Int32Array, written: readonly number[], tokenizer: Tokenizer, skip: number): string[] {
  let decoder = tokenizer.decoder(skip);
  decoder.push(written);
  return Array.from(tokens, (token) => {
    if (token === tokenizer.special.mask) decoder = tokenizer.decoder();
    return wholeCharacters(decoder.push([token]));
  });
}

function wholeCharacters(text: string): string {
  return text.replaceAll('\ufffd', '');
}
