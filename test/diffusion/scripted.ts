/** Predictions made up by a test, in place of a denoiser. */

import type { Predictions } from '../../src/denoiser/transformer/predictions.ts';

export const special = { pad: 0, mask: 1, eom: 2, prefix: 3, suffix: 4, endOfText: 5 };
/** Text tokens are 6 to 31. */
export const VOCABULARY = 32;
const CANDIDATES = 8;

/** Probabilities of some tokens; the rest of the vocabulary shares the remainder. */
export type Distribution = Record<number, number>;

export function predictions(rows: readonly Distribution[]): Predictions {
  return rowsOf(rows.map(logitsOf));
}

/** Predictions of rows of logits, (vocabulary) each. */
export function rowsOf(logits: readonly Float32Array[]): Predictions {
  const best = logits.map((row) => [...row.keys()].sort((a, b) => row[b]! - row[a]! || a - b).slice(0, CANDIDATES));
  return {
    rows: logits.length,
    candidates: CANDIDATES,
    ids: Int32Array.from(best.flat()),
    logits: Float32Array.from(best.flatMap((ids, row) => ids.map((id) => logits[row]![id]!))),
    logSumExp: Float32Array.from(logits, (row) => Math.log(row.reduce((sum, logit) => sum + Math.exp(logit), 0))),
    allLogits: (row) => logits[row]!,
  };
}

function logitsOf(distribution: Distribution): Float32Array {
  const named = Object.values(distribution);
  const left = Math.max(1e-6, 1 - named.reduce((sum, share) => sum + share, 0)) / (VOCABULARY - named.length);
  // A shift of all logits changes no probability, and shows whether logSumExp is used.
  return Float32Array.from({ length: VOCABULARY }, (_, id) => 3 + Math.log(distribution[id] ?? left));
}
