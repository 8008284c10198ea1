import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Predictions } from '../../src/denoiser/transformer/predictions.ts';
import { ContextNgrams, withNgrams } from '../../src/diffusion/context-ngrams.ts';

const WEIGHTS = { bias: -2, length: 1, share: 0.5, count: 0.25 };
const MASK = 1;
const VOCABULARY = 12;
const CANDIDATES = 3;

describe('ContextNgrams', () => {
  const next = (before: number[], after: number[], written: number[] = []) =>
    new ContextNgrams(before, after, WEIGHTS).next(written);

  it('should predict what followed the longest match, and count shorter ones less', () => {
    // After 5 6: 7 once; after another 6: 8 once.
    const found = next([5, 6, 7, 2, 6, 8, 5, 6], [])!;
    expect(found.match).toEqual({ length: 2, share: 0.8, count: 1 });
    expect([...found.probabilities]).toEqual([
      [7, 0.8],
      [8, 0.2],
    ]);
    const logit = -2 + Math.log(2) + 0.5 * 0.8;
    expect(found.weight).toBeCloseTo(1 / (1 + Math.exp(-logit)), 12);
  });

  it('should weigh more where more places agree', () => {
    const [once, twice] = [next([5, 7, 2, 5], [])!, next([5, 7, 5, 7, 2, 5], [])!];
    expect(twice.match).toEqual({ length: 1, share: 1, count: 2 });
    expect(twice.weight).toBeGreaterThan(once.weight);
  });

  it('should look at both sides of the completion, and at the completion', () => {
    expect([...next([9, 5], [5, 7])!.probabilities]).toEqual([[7, 1]]);
    expect([...next([9], [], [5, 7, 5])!.probabilities]).toEqual([[7, 1]]);
    expect(next([5], [], [7])).toBeUndefined();
  });

  it('should not match across the completion, nor the end of the text with itself', () => {
    expect(next([5], [])).toBeUndefined();
    // 5 is the last token before the completion and 7 the first after it, but the completion is between them.
    expect(next([5], [7])).toBeUndefined();
  });

  it('should predict nothing where there is no text', () => {
    expect(next([], [5, 7])).toBeUndefined();
  });
});

describe('withNgrams', () => {
  /** Predictions with the best few of these logits, (rows, vocabulary). */
  function predictionsOf(rows: readonly (readonly number[])[]): Predictions {
    const order = rows.map((row) => [...row.keys()].sort((a, b) => row[b]! - row[a]! || a - b).slice(0, CANDIDATES));
    return {
      rows: rows.length,
      candidates: CANDIDATES,
      ids: Int32Array.from(order.flat()),
      logits: Float32Array.from(order.flatMap((ids, row) => ids.map((id) => rows[row]![id]!))),
      logSumExp: Float32Array.from(rows, (row) => Math.log(row.reduce((sum, logit) => sum + Math.exp(logit), 0))),
      allLogits: (row) => Float32Array.from(rows[row]!),
    };
  }
  const probabilities = (predictions: Predictions, row: number) =>
    Array.from(predictions.allLogits(row), (logit) => Math.exp(logit - predictions.logSumExp[row]!));

  const logits = fc.array(fc.double({ min: -4, max: 4, noNaN: true }), {
    minLength: VOCABULARY,
    maxLength: VOCABULARY,
  });
  const text = fc.array(fc.integer({ min: 2, max: VOCABULARY - 1 }), { maxLength: 20 });

  it('should be the mixture, with the best candidates of it', () => {
    fc.assert(
      fc.property(logits, text, text, text, (row, before, after, written) => {
        const ngrams = new ContextNgrams(before, after, WEIGHTS);
        const found = ngrams.next(written);
        const model = predictionsOf([row]);
        const mixed = withNgrams(model, ngrams, Int32Array.of(MASK), written, [0], MASK);
        const expected = probabilities(model, 0).map((probability, id) =>
          found ? (1 - found.weight) * probability + found.weight * (found.probabilities.get(id) ?? 0) : probability,
        );
        const got = probabilities(mixed, 0);
        for (const [id, probability] of expected.entries()) expect(got[id]).toBeCloseTo(probability, 5);
        expect(got.reduce((sum, probability) => sum + probability, 0)).toBeCloseTo(1, 5);
        // A token that is no candidate of the model is one now if its n-grams alone make it more probable than those.
        const unseen = (1 - (found?.weight ?? 0)) * Math.exp(model.logits.at(-1)! - model.logSumExp[0]!);
        const best = expected.toSorted((a, b) => b - a).slice(0, CANDIDATES);
        for (const [at, probability] of best.entries()) {
          const candidate = Math.exp(mixed.logits[at]! - mixed.logSumExp[0]!);
          expect(expected[mixed.ids[at]!]).toBeCloseTo(candidate, 5);
          expect(candidate).toBeGreaterThan(probability - unseen - 1e-5);
          if (probability > 2 * unseen + 1e-5 && at === 0) expect(candidate).toBeCloseTo(probability, 5);
        }
      }),
    );
  });

  it('should leave rows alone that have an undecided slot before them', () => {
    const rows = [0, 1, 2].map((row) => Array.from({ length: VOCABULARY }, (_, id) => (id === row + 4 ? 2 : 0)));
    const ngrams = new ContextNgrams([5, 7, 9, 5], [], { bias: 5, length: 0, share: 0, count: 0 });
    const canvas = Int32Array.of(7, MASK, MASK);
    const mixed = withNgrams(predictionsOf(rows), ngrams, canvas, [], [0, 1, 2], MASK);
    expect(mixed.ids[0]).toBe(7);
    expect(mixed.ids[CANDIDATES]).toBe(9);
    expect(mixed.ids[2 * CANDIDATES]).toBe(6);
    expect(mixed.allLogits(2)).toEqual(predictionsOf(rows).allLogits(2));
  });
});
