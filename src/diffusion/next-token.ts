/**
 * One step of autoregressive decoding on a canvas: the leftmost undecided slot takes the predicted next token. Pure.
 */

import type { Predictions } from '../denoiser/transformer/predictions.ts';
import type { SpecialTokens } from '../tokenizer/tokenizer.ts';
import type { Canvas } from './canvas.ts';
import { bestChoice, boundChoice, mostProbable, sampledChoice } from './choice.ts';
import { uniform } from './random.ts';
import { type Binding, mayBeSaid, type SamplerSettings } from './sampler.ts';

type NextTokenSettings = Pick<SamplerSettings, 'temperature' | 'topP' | 'seed' | 'alternatives' | 'text'>;

/**
 * @param predictions one row: the prediction of the prefix stream for the token after its last one.
 * @param written tokens before the canvas
 * @param cursor bytes that bind the first tokens of a completion
 */
export function nextTokenStep(
  canvas: Canvas,
  predictions: Predictions,
  { temperature, topP, seed, alternatives = 0, text }: NextTokenSettings,
  special: SpecialTokens,
  step: number,
  written: readonly number[] = [],
  cursor?: Binding,
): void {
  const slot = canvas.decidedRun();
  // All before the slot is decided.
  const constrained = text?.on(canvas.tokens, written, slot);
  const before = [...written, ...canvas.text(slot)];
  const agreeing = cursor?.agreeing(before);
  if (agreeing !== undefined) {
    const fits = (token: number) => cursor!.isSilent(before, token) || (constrained?.permits(slot, token) ?? true);
    const draw = () => uniform(seed, step, slot);
    const settings = { temperature, topP, alternatives };
    const { choice, others } = boundChoice(predictions, 0, [...agreeing].filter(fits), settings, draw);
    canvas.reveal(slot, choice, others);
    return;
  }
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

/** Running text has neither the end of a middle nor the tokens of a canvas. */
function mayFollow(token: number, { mask, pad, eom, prefix, suffix }: SpecialTokens): boolean {
  return token !== mask && token !== pad && token !== eom && token !== prefix && token !== suffix;
}
