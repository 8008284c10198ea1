import { describe, expect, it } from 'vitest';
import { withPenalties } from '../../src/diffusion/penalties.ts';
import { type Distribution, predictions, special, VOCABULARY } from './scripted.ts';

const MASK = special.mask;
const [A, B, C] = [10, 11, 12];

/** Probabilities of a row, from all its logits. */
function probabilities(of: ReturnType<typeof predictions>, row: number): number[] {
  return Array.from(of.allLogits(row), (logit) => Math.exp(logit - of.logSumExp[row]!));
}

function penalized(rows: Distribution[], canvas: number[], written: number[], presence: number, frequency: number) {
  return withPenalties(predictions(rows), Int32Array.from(canvas), written, { presence, frequency }, special);
}

describe('withPenalties', () => {
  it('should leave predictions as they are when nothing has been said', () => {
    const plain = predictions([{ [A]: 0.6, [B]: 0.3 }]);
    const { ids, logits, logSumExp } = penalized([{ [A]: 0.6, [B]: 0.3 }], [MASK], [], 2, 2);
    expect([...ids]).toEqual([...plain.ids]);
    expect([...logits]).toEqual([...plain.logits]);
    expect(logSumExp[0]).toBeCloseTo(plain.logSumExp[0]!, 5);
  });

  it('should take the presence penalty once and the frequency penalty each time', () => {
    const plain = predictions([{ [A]: 0.6, [B]: 0.3 }]);
    const { allLogits } = penalized([{ [A]: 0.6, [B]: 0.3 }], [MASK], [A, A, A, B], 0.5, 0.25);
    expect(plain.allLogits(0)[A]! - allLogits(0)[A]!).toBeCloseTo(0.5 + 3 * 0.25, 5);
    expect(plain.allLogits(0)[B]! - allLogits(0)[B]!).toBeCloseTo(0.5 + 0.25, 5);
    expect(allLogits(0)[C]).toBe(plain.allLogits(0)[C]);
  });

  it('should bring forward what has not been said, with probabilities that sum to 1', () => {
    const result = penalized([{ [A]: 0.6, [B]: 0.3 }], [MASK], [A], 2, 0);
    expect(result.ids[0]).toBe(B);
    expect(result.logits[0]).toBe(result.allLogits(0)[B]);
    expect(probabilities(result, 0).reduce((sum, share) => sum + share, 0)).toBeCloseTo(1, 5);
    expect(probabilities(result, 0)[B]).toBeGreaterThan(0.3);
  });

  it('should favour what has been said when negative', () => {
    expect(penalized([{ [A]: 0.3, [B]: 0.6 }], [MASK], [A], -2, 0).ids[0]).toBe(A);
  });

  it('should count tokens elsewhere on the canvas, but not the slot itself', () => {
    const row = { [A]: 0.6, [B]: 0.3 };
    const { ids, candidates } = penalized([row, row], [A, MASK], [], 2, 0);
    expect([ids[0], ids[candidates]]).toEqual([A, B]);
  });

  it('should count no special token', () => {
    const row = { [special.eom]: 0.9 };
    expect(penalized([row], [MASK], [special.eom, special.pad, special.endOfText], 2, 2).ids[0]).toBe(special.eom);
  });

  it('should add biases, exactly over the vocabulary', () => {
    const plain = predictions([{ [A]: 0.6, [B]: 0.3 }]);
    const unlikely = VOCABULARY - 1;
    expect([...plain.ids]).not.toContain(unlikely);
    const bias = new Map([
      [unlikely, 20],
      [A, -100],
      [special.eom, 0.5],
    ]);
    const biased = withPenalties(plain, Int32Array.of(MASK), [], { presence: 0, frequency: 0, bias }, special);
    expect([biased.ids[0], biased.ids[1]]).toEqual([unlikely, B]);
    expect([...biased.ids]).not.toContain(A);
    expect(biased.allLogits(0)[special.eom]! - plain.allLogits(0)[special.eom]!).toBeCloseTo(0.5, 5);
    expect(probabilities(biased, 0).reduce((sum, share) => sum + share, 0)).toBeCloseTo(1, 5);
    expect(probabilities(biased, 0)[unlikely]).toBeGreaterThan(0.99);
  });

  it('should order the candidates best first, and find one that was none before', () => {
    const { ids, logits, candidates } = penalized(
      [{ [A]: 0.5 }],
      [MASK],
      Array.from({ length: 20 }, (_, i) => 6 + i),
      2,
      0,
    );
    expect([...logits]).toEqual([...logits].sort((a, b) => b - a));
    expect(ids).toHaveLength(candidates);
    expect([...ids].every((id) => id === A || id < 6 || id > 25)).toBe(true);
    expect(Math.max(...ids)).toBeLessThan(VOCABULARY);
  });
});
