/**
 * Presence and frequency penalties and biases as OpenAI defines them, on a canvas: tokens that are decided elsewhere on
 * it or precede it count. Slots that are revealed in the same step do not see each other.
 * https://platform.openai.com/docs/api-reference/completions (logit + bias - count · frequency - (count > 0) ·
 * presence)
 */

import type { Predictions } from '../denoiser/transformer/predictions.ts';
import type { SpecialTokens } from '../tokenizer/tokenizer.ts';
import { bestIds, logSumExpOf } from './choice.ts';

export interface Penalties {
  /** Subtracted once from the logit of each token that occurs already; negative values favour it. */
  presence: number;
  /** Subtracted from the logit for each occurrence of the token. */
  frequency: number;
  /** Added to the logit of each of these tokens. */
  bias?: ReadonlyMap<number, number>;
}

/**
 * The predictions with penalized and biased logits, exact over the vocabulary: a token that was not a candidate can
 * become one.
 * @param canvas tokens of the canvas that was evaluated; the token of a slot does not count in its own row.
 * @param written tokens before the canvas
 * @param slots the slot of each row
 */
export function withPenalties(
  predictions: Predictions,
  canvas: Int32Array,
  written: readonly number[],
  { presence, frequency, bias = new Map() }: Penalties,
  special: SpecialTokens,
  slots: readonly number[] = [...canvas.keys()],
): Predictions {
  const { rows, candidates } = predictions;
  const unsaid = new Set(Object.values(special));
  const said = new Map<number, number>();
  for (const token of [...written, ...canvas]) if (!unsaid.has(token)) said.set(token, (said.get(token) ?? 0) + 1);

  const ids = new Int32Array(rows * candidates);
  const logits = new Float32Array(rows * candidates);
  const logSumExp = new Float32Array(rows);
  const all: Float32Array[] = [];
  for (let row = 0; row < rows; row++) {
    const penalized = predictions.allLogits(row).slice(); // (vocabulary)
    for (const [token, times] of said) {
      const count = canvas[slots[row]!] === token ? times - 1 : times;
      if (count > 0) penalized[token]! -= presence + count * frequency;
    }
    for (const [token, amount] of bias) penalized[token]! += amount;
    const best = bestIds(penalized, candidates);
    ids.set(best, row * candidates);
    logits.set(
      best.map((id) => penalized[id]!),
      row * candidates,
    );
    logSumExp[row] = logSumExpOf(penalized, penalized[best[0]!]!);
    all.push(penalized);
  }
  return { rows, candidates, ids, logits, logSumExp, allLogits: (row) => all[row]! };
}
