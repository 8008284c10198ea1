/**
 * What followed the last tokens elsewhere in the text of a request: a cache language model (Kuhn and De Mori 1990;
 * Grave et al., arXiv 1612.04426) over the longest matches, as infini-gram has them (arXiv 2401.17377). It is mixed
 * into the predictions of a model: p = (1 − λ) · p_model + λ · p_ngrams. It reads more of the text than the model does.
 * Pure.
 */

import type { NgramWeights } from '../denoiser/three-stream/config.ts';
import type { Predictions } from '../denoiser/transformer/predictions.ts';

/** Tokens of a match that are compared. */
const LONGEST_MATCH = 16;
/** A match counts this many times one that is a token shorter. */
const WEIGHT_OF_A_TOKEN = 4;
/** By the length of a match. */
const WEIGHTS = Array.from({ length: LONGEST_MATCH + 1 }, (_, length) => WEIGHT_OF_A_TOKEN ** length);

/**
 * A token is drafted while the n-grams alone make it and the draft before it so probable. The model agrees far more
 * often than that (bench/LOG.md).
 */
const LEAST_DRAFTED = 0.2;

/** The longest match of the last tokens with other places of a text. */
export interface LongestMatch {
  /** Its tokens. */
  readonly length: number;
  /** Probability of its most frequent next token. */
  readonly share: number;
  /** Places that match in so many tokens. */
  readonly count: number;
}

/** The tokens that followed the same text, and how much they count. */
export interface NgramPrediction {
  readonly match: LongestMatch;
  /** λ, between 0 and 1. */
  readonly weight: number;
  /** By token; the sum is 1. */
  readonly probabilities: ReadonlyMap<number, number>;
}

/** The text of one request. */
export class ContextNgrams {
  /** The tokens before the completion, and after them those that were written when it was last asked for. */
  #text: Int32Array;
  readonly #start: number;
  readonly #after: Int32Array;
  readonly #weights: NgramWeights;

  /**
   * @param before tokens before the completion
   * @param after tokens after it, in the order of the text
   */
  constructor(before: readonly number[], after: readonly number[], weights: NgramWeights) {
    this.#text = Int32Array.from(before);
    this.#start = before.length;
    this.#after = Int32Array.from(after);
    this.#weights = weights;
  }

  /** Undefined if the last token is nowhere else. @param written tokens of the completion */
  next(written: readonly number[]): NgramPrediction | undefined {
    const length = this.#start + written.length;
    if (length > this.#text.length) {
      const longer = new Int32Array(2 * length);
      longer.set(this.#text.subarray(0, this.#start));
      this.#text = longer;
    }
    this.#text.set(written, this.#start);
    const text = this.#text.subarray(0, length);
    const places: Places = { weights: new Map(), total: 0, byLength: new Int32Array(LONGEST_MATCH + 1) };
    addPlaces(text, text, places);
    addPlaces(this.#after, text, places);
    const { weights: probabilities, total, byLength } = places;
    if (total === 0) return undefined;
    for (const [token, weight] of probabilities) probabilities.set(token, weight / total);
    const share = Math.max(...probabilities.values());
    const longest = byLength.findLastIndex((count) => count > 0);
    const match = { length: longest, share, count: byLength[longest]! };
    return { match, weight: weightOf(match, this.#weights), probabilities };
  }
}

/**
 * Tokens that probably follow, best guesses one after the other, for speculative decoding (arXiv 2211.17192; from the
 * prompt as in prompt lookup decoding): they cost rows of a pass, and are part of the completion only if the model
 * predicts them too. Empty where the text gives no good guess.
 * @param written tokens of the completion
 */
export function draftOf(ngrams: ContextNgrams, written: readonly number[], most: number): number[] {
  const draft: number[] = [];
  let probability = 1;
  while (draft.length < most) {
    const found = ngrams.next([...written, ...draft]);
    if (found === undefined) break;
    const { match, weight, probabilities } = found;
    probability *= weight * match.share;
    if (probability < LEAST_DRAFTED) break;
    draft.push([...probabilities.keys()].find((token) => probabilities.get(token) === match.share)!);
  }
  return draft;
}

function weightOf(match: LongestMatch, { bias, length, share, count }: NgramWeights): number {
  const logit = bias + length * Math.log(match.length) + share * match.share + count * Math.log(match.count);
  return 1 / (1 + Math.exp(-logit));
}

/** Places that end as a text does. */
interface Places {
  /** By the token after the place; powers of WEIGHT_OF_A_TOKEN, whose sums are exact. */
  readonly weights: Map<number, number>;
  total: number;
  /** Number of places whose last so many tokens agree. */
  readonly byLength: Int32Array;
}

/** Adds the places of `tokens`, except its end, that end as `text` does. */
function addPlaces(tokens: Int32Array, text: Int32Array, places: Places): void {
  const { weights, byLength } = places;
  const end = text.length - 1;
  const last = text[end];
  for (let at = 0; at < tokens.length - 1; at++) {
    if (tokens[at] !== last) continue;
    const most = Math.min(LONGEST_MATCH, at + 1, end + 1);
    let length = 1;
    while (length < most && tokens[at - length] === text[end - length]) length++;
    const weight = WEIGHTS[length]!;
    const next = tokens[at + 1]!;
    weights.set(next, (weights.get(next) ?? 0) + weight);
    places.total += weight;
    byLength[length]!++;
  }
}

/**
 * Predictions with the n-grams mixed into those rows whose slot has decided tokens alone before it: elsewhere the last
 * tokens are not known.
 * @param canvas tokens of the canvas that was evaluated
 * @param written tokens before the canvas
 * @param slots the slot of each row
 */
export function withNgrams(
  predictions: Predictions,
  ngrams: ContextNgrams,
  canvas: Int32Array,
  written: readonly number[],
  slots: readonly number[],
  mask: number,
): Predictions {
  const { rows, candidates, logSumExp } = predictions;
  const open = canvas.indexOf(mask);
  const decided = open < 0 ? canvas.length : open;
  const found = slots.map((slot) =>
    slot <= decided ? ngrams.next([...written, ...canvas.subarray(0, slot)]) : undefined,
  );
  if (found.every((prediction) => prediction === undefined)) return predictions;
  const ids = predictions.ids.slice();
  const logits = predictions.logits.slice();
  for (const [row, prediction] of found.entries()) {
    if (prediction === undefined) continue;
    const best = mixedCandidates(predictions, row, prediction);
    ids.set(
      best.map(({ id }) => id),
      row * candidates,
    );
    logits.set(
      best.map(({ logit }) => logit),
      row * candidates,
    );
  }
  const allLogits = (row: number) => {
    const prediction = found[row];
    const all = predictions.allLogits(row);
    return prediction === undefined ? all : mixedLogits(all, logSumExp[row]!, prediction);
  };
  return { rows, candidates, ids, logits, logSumExp, allLogits };
}

/** The best candidates of a row: those of the model, and next tokens that are more probable than its last one. */
function mixedCandidates(
  predictions: Predictions,
  row: number,
  prediction: NgramPrediction,
): { id: number; logit: number }[] {
  const { candidates, logSumExp } = predictions;
  const ids = predictions.ids.subarray(row * candidates, (row + 1) * candidates);
  const logits = predictions.logits.subarray(row * candidates, (row + 1) * candidates);
  const total = logSumExp[row]!;
  const mixed = [...ids].map((id, at) => ({ id, logit: mix(logits[at]!, total, prediction, id) }));
  const least = Math.exp(Math.min(...mixed.map(({ logit }) => logit)) - total);
  const others = [...prediction.probabilities]
    .filter(([id, probability]) => prediction.weight * probability >= least && !ids.includes(id))
    .map(([id]) => id);
  if (others.length > 0) {
    const all = predictions.allLogits(row);
    mixed.push(...others.map((id) => ({ id, logit: mix(all[id]!, total, prediction, id) })));
  }
  return mixed.sort((a, b) => b.logit - a.logit || a.id - b.id).slice(0, candidates);
}

function mixedLogits(all: Float32Array, logSumExp: number, prediction: NgramPrediction): Float32Array {
  const less = Math.log1p(-prediction.weight);
  const mixed = all.map((logit) => logit + less);
  for (const id of prediction.probabilities.keys()) mixed[id] = mix(all[id]!, logSumExp, prediction, id);
  return mixed;
}

/** The logit of a token in the mixture; the sum of all exponentials stays what it is. */
function mix(logit: number, logSumExp: number, { weight, probabilities }: NgramPrediction, id: number): number {
  const probability = probabilities.get(id);
  if (probability === undefined) return logit + Math.log1p(-weight);
  return logSumExp + Math.log((1 - weight) * Math.exp(logit - logSumExp) + weight * probability);
}
