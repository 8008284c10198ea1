/** Which token a slot would take: the best one, or one drawn at a temperature from the nucleus (arXiv 1904.09751). */

import type { Predictions } from '../denoiser/transformer/predictions.ts';

export interface Choice {
  token: number;
  /** Natural logarithm of its probability over the whole vocabulary at temperature 1. */
  logProbability: number;
}

/** The `count` most probable tokens of a row that `allowed` accepts, best first: exact over the vocabulary. */
export function mostProbable(
  predictions: Predictions,
  row: number,
  count: number,
  allowed: (token: number) => boolean,
): Choice[] {
  const logits = predictions.allLogits(row);
  return bestIds(logits, count, allowed).map((token) => ({
    token,
    logProbability: logits[token]! - predictions.logSumExp[row]!,
  }));
}

/**
 * Indices of the `count` largest values that are allowed, largest first; the lower index first where they are equal.
 */
export function bestIds(values: Float32Array, count: number, allowed: (id: number) => boolean = () => true): number[] {
  const best: number[] = [];
  for (let id = 0; id < values.length; id++) {
    if (best.length === count && values[id]! <= values[best[count - 1]!]!) continue;
    if (!allowed(id)) continue;
    let at = best.length;
    while (at > 0 && values[best[at - 1]!]! < values[id]!) at--;
    best.splice(at, 0, id);
    if (best.length > count) best.pop();
  }
  return best;
}

/**
 * The best of a few tokens, or one of them drawn at a temperature. Its probability is relative to these tokens.
 * @param alternatives number of most probable tokens to return with it
 */
export function boundChoice(
  predictions: Predictions,
  row: number,
  tokens: Iterable<number>,
  { temperature, topP, alternatives = 0 }: { temperature: number; topP: number; alternatives?: number },
  draw: () => number,
): { choice: Choice; others: Choice[] } {
  const logits = predictions.allLogits(row);
  const ids = [...tokens].sort((a, b) => logits[b]! - logits[a]! || a - b);
  const weights = Float32Array.from(ids, (id) => logits[id]!);
  const total = logSumExpOf(weights, weights[0]!);
  const choices = ids.map((token, at) => ({ token, logProbability: weights[at]! - total }));
  const drawn = temperature === 0 ? 0 : drawSorted(weights, { temperature, topP }, draw());
  return { choice: choices[drawn]!, others: choices.slice(0, alternatives) };
}

/** An index of logits in descending order, drawn from the nucleus. */
function drawSorted(
  logits: Float32Array,
  { temperature, topP }: { temperature: number; topP: number },
  uniform: number,
): number {
  const weights = Float64Array.from(logits, (logit) => Math.exp((logit - logits[0]!) / temperature));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return drawFromNucleus(weights, total, topP, uniform) ?? 0;
}

/** @param max the largest of the values */
export function logSumExpOf(values: Float32Array, max: number): number {
  let sum = 0;
  for (const value of values) sum += Math.exp(value - max);
  return max + Math.log(sum);
}

/** The most probable token of a row that `allowed` accepts. Throws RangeError if it accepts none. */
export function bestChoice(predictions: Predictions, row: number, allowed: (token: number) => boolean): Choice {
  const { candidates, ids, logits, logSumExp } = predictions;
  for (let at = row * candidates; at < (row + 1) * candidates; at++) {
    if (allowed(ids[at]!)) return { token: ids[at]!, logProbability: logits[at]! - logSumExp[row]! };
  }
  // Within a character more tokens may be refused than there are candidates.
  const [choice] = mostProbable(predictions, row, 1, allowed);
  if (choice === undefined) throw new RangeError(`no token of row ${row} is allowed`);
  return choice;
}

/**
 * Draws a token: the largest probabilities at `temperature` whose sum reaches topP, cut at `uniform` in [0, 1). Exact
 * over the vocabulary; tokens that `allowed` rejects have no share.
 */
export function sampledChoice(
  predictions: Predictions,
  row: number,
  { temperature, topP }: { temperature: number; topP: number },
  uniform: number,
  allowed: (token: number) => boolean,
): Choice {
  const logits = predictions.allLogits(row);
  const best = bestChoice(predictions, row, allowed).token;
  const weights = Float64Array.from(logits, (logit, id) =>
    allowed(id) ? Math.exp((logit - logits[best]!) / temperature) : 0,
  );
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const token =
    topP < 1 ? drawFromNucleus(weights, total, topP, uniform) : draw(weights.keys(), weights, uniform * total);
  return { token: token ?? best, logProbability: logits[token ?? best]! - predictions.logSumExp[row]! };
}

function drawFromNucleus(weights: Float64Array, total: number, topP: number, uniform: number): number | undefined {
  // Tokens below this share have less than 1 - topP together: the nucleus is above it, and only that part is sorted.
  const negligible = ((1 - topP) * total) / weights.length;
  const likely = [...weights.keys()].filter((id) => weights[id]! >= negligible);
  likely.sort((a, b) => weights[b]! - weights[a]! || a - b);
  let mass = 0;
  const nucleus = likely.findIndex((id) => {
    mass += weights[id]!;
    return mass >= topP * total;
  });
  return draw(nucleus < 0 ? likely : likely.slice(0, nucleus + 1), weights, uniform * mass);
}

/** The first id at which the running sum of weights exceeds `target`. */
function draw(ids: Iterable<number>, weights: Float64Array, target: number): number | undefined {
  let sum = 0;
  for (const id of ids) {
    sum += weights[id]!;
    if (sum > target) return id;
  }
  return undefined;
}
