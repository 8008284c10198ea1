/** One step of autoregressive decoding, laid on a canvas: the leftmost undecided slot takes the predicted next token. Pure. */

import type { Predictions } from '../denoiser/transformer/predictions.ts';
import type { SpecialTokens } from '../tokenizer/tokenizer.ts';
import type { Canvas } from './canvas.ts';
import { bestChoice, mostProbable, sampledChoice } from './choice.ts';
import { uniform } from './random.ts';
import { mayBeSaid, type SamplerSettings } from './sampler.ts';

type NextTokenSettings = Pick<SamplerSettings, 'temperature' | 'topP' | 'seed' | 'alternatives' | 'text'>;

/**
 * @param predictions one row: what the prefix stream says of the token behind its last one.
 * @param written tokens before the canvas
 */
export function nextTokenStep(
  canvas: Canvas,
  predictions: Predictions,
  { temperature, topP, seed, alternatives = 0, text }: NextTokenSettings,
  special: SpecialTokens,
  step: number,
  written: readonly number[] = [],
): void {
  const slot = canvas.decidedRun();
  const constrained = text?.on(canvas.tokens, written);
  const allowed = (token: number) => mayFollow(token, special) && (constrained?.permits(slot, token) ?? true);
  const choice =
    temperature === 0
      ? bestChoice(predictions, 0, allowed)
      : sampledChoice(predictions, 0, { temperature, topP }, uniform(seed, step, slot), allowed);
  canvas.reveal(
    slot,
    choice,
    alternatives > 0 ? mostProbable(predictions, 0, alternatives, (token) => mayBeSaid(token, special, text)) : [],
  );
  canvas.dropBehindEnd();
}

/** The end of a middle and what belongs to a canvas have no place in running text. */
function mayFollow(token: number, { mask, pad, eom, prefix, suffix }: SpecialTokens): boolean {
  return token !== mask && token !== pad && token !== eom && token !== prefix && token !== suffix;
}
