import { describe, expect, it } from 'vitest';
import { Canvas } from '../../src/diffusion/canvas.ts';
import { nextTokenStep } from '../../src/diffusion/next-token.ts';
import { type Distribution, predictions, special, VOCABULARY } from './scripted.ts';

const GREEDY = { temperature: 0, topP: 1, seed: 0 };

function step(canvas: Canvas, distribution: Distribution, settings = GREEDY, number = 1): void {
  nextTokenStep(canvas, predictions([distribution]), settings, special, number);
}

describe('a step from left to right', () => {
  it('should write the best token on the leftmost undecided slot, with its log-probability', () => {
    const canvas = new Canvas(3, special);
    step(canvas, { 9: 0.6, 10: 0.3 });
    step(canvas, { 11: 0.2, 12: 0.1 });
    expect([...canvas.tokens]).toEqual([9, 11, special.mask]);
    expect(canvas.logProbabilityOf(0)).toBeCloseTo(Math.log(0.6), 5);
    expect(canvas.logProbabilityOf(1)).toBeCloseTo(Math.log(0.2), 5);
  });

  it('should never write what has no place in running text', () => {
    const { mask, pad, eom, prefix, suffix } = special;
    const canvas = new Canvas(1, special);
    step(canvas, { [mask]: 0.2, [pad]: 0.2, [eom]: 0.2, [prefix]: 0.1, [suffix]: 0.1, 20: 0.05 });
    expect([...canvas.tokens]).toEqual([20]);
    for (let seed = 0; seed < 50; seed++) {
      const sampled = new Canvas(1, special);
      step(sampled, { [mask]: 0.4, [eom]: 0.3, [pad]: 0.2 }, { temperature: 1, topP: 1, seed });
      expect([mask, pad, eom, prefix, suffix]).not.toContain(sampled.tokens[0]);
    }
  });

  it('should end the canvas with the end of the text', () => {
    const canvas = new Canvas(4, special);
    step(canvas, { 9: 1 });
    step(canvas, { [special.endOfText]: 0.9 });
    expect(canvas.ended).toBe(true);
    expect([...canvas.tokens]).toEqual([9, special.endOfText]);
  });

  it('should draw as its seed, its step and the nucleus say', () => {
    const draw = (seed: number, number: number, topP = 1) => {
      const canvas = new Canvas(1, special);
      step(canvas, { 9: 0.5, 10: 0.3 }, { temperature: 1, topP, seed }, number);
      return canvas.tokens[0]!;
    };
    expect(draw(3, 1)).toBe(draw(3, 1));
    const drawn = Array.from({ length: 400 }, (_, number) => draw(7, number));
    expect(drawn.filter((token) => token === 9).length / 400).toBeGreaterThan(0.4);
    expect(drawn.filter((token) => token === 9).length / 400).toBeLessThan(0.6);
    expect(new Set(drawn).size).toBeGreaterThan(2);
    expect(Math.max(...drawn)).toBeLessThan(VOCABULARY);
    expect(new Set(Array.from({ length: 400 }, (_, number) => draw(7, number, 0.8)))).toEqual(new Set([9, 10]));
  });
});
