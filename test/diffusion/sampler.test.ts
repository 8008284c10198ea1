import { describe, expect, it } from 'vitest';
import { Canvas } from '../../src/diffusion/canvas.ts';
import { denoisingStep, isSettled, type SamplerSettings } from '../../src/diffusion/sampler.ts';
import { mulberry32 } from '../../support/seeded-random.ts';
import { type Distribution, predictions, special, VOCABULARY } from './scripted.ts';

const greedy: SamplerSettings = {
  temperature: 0,
  topP: 1,
  seed: 1,
  revealThreshold: 0.9,
  editThreshold: 0.9,
  maxEditsPerSlot: 2,
  freezeAfter: Number.POSITIVE_INFINITY,
};
const { mask, pad, eom, endOfText } = special;

/** Applies steps, each given as the distributions of the live slots, and returns the live tokens after each. */
function run(
  canvas: Canvas,
  steps: Distribution[][],
  settings = greedy,
  wanted = canvas.slots,
  final = false,
): number[][] {
  return steps.map((rows, step) => {
    expect(rows).toHaveLength(canvas.tokens.length);
    denoisingStep(canvas, predictions(rows), settings, special, { step, wanted, final });
    return Array.from(canvas.tokens);
  });
}

describe('reveal', () => {
  it('should reveal every slot that reaches the threshold', () => {
    const canvas = new Canvas(4, special);
    const [tokens] = run(canvas, [[{ 10: 0.95 }, { 11: 0.5 }, { 12: 0.91 }, { 13: 0.89 }]]);
    expect(tokens).toEqual([10, mask, 12, mask]);
    expect(canvas.logProbabilityOf(0)).toBeCloseTo(Math.log(0.95), 5);
  });

  it('should reveal the surest slot when none reaches the threshold', () => {
    const [tokens] = run(new Canvas(3, special), [[{ 10: 0.3 }, { 11: 0.5 }, { 12: 0.4 }]]);
    expect(tokens).toEqual([mask, 11, mask]);
  });

  it('should never reveal padding, however sure', () => {
    const [tokens] = run(new Canvas(3, special), [[{ 10: 0.3 }, { [pad]: 0.99 }, { [pad]: 0.6, 12: 0.39 }]]);
    expect(tokens).toEqual([10, mask, mask]);
  });

  it('should let the leftmost slot take its best other token when all say padding', () => {
    const [tokens] = run(new Canvas(3, special), [
      [{ [pad]: 0.9, [eom]: 0.05 }, { [pad]: 0.5, 11: 0.45 }, { [pad]: 0.9 }],
    ]);
    expect(tokens).toEqual([eom]);
  });

  it('should never put a mask or a stream marker on the canvas', () => {
    const [tokens] = run(new Canvas(1, special), [
      [{ [mask]: 0.4, [special.prefix]: 0.3, [special.suffix]: 0.2, 9: 0.05 }],
    ]);
    expect(tokens).toEqual([9]);
  });

  it('should leave slots that are not wanted as masks', () => {
    const canvas = new Canvas(3, special);
    expect(run(canvas, [[{ 10: 0.95 }, { 11: 0.2 }, { 12: 0.99 }]], greedy, 2)).toEqual([[10, mask, mask]]);
    expect(run(canvas, [[{ 10: 0.95 }, { 11: 0.2 }, { 12: 0.99 }]], greedy, 2)).toEqual([[10, 11, mask]]);
    expect(canvas.undecided(2)).toEqual([]);
  });
});

describe('end', () => {
  it.each([eom, endOfText])('should drop what lies behind end token %i', (end) => {
    const canvas = new Canvas(4, special);
    const [tokens] = run(canvas, [[{ 10: 0.95 }, { 11: 0.5 }, { [end]: 0.95 }, { 13: 0.99 }]]);
    expect(tokens).toEqual([10, mask, end]);
    expect(canvas.ended).toBe(true);
    expect(canvas.text(4)).toEqual([10]);
  });

  it('should reopen what was dropped when the end is edited away', () => {
    const canvas = new Canvas(4, special);
    const [, tokens] = run(canvas, [
      [{ 10: 0.95 }, { 11: 0.5 }, { [eom]: 0.95 }, { 13: 0.99 }],
      [{ 10: 0.95 }, { 11: 0.5 }, { 12: 0.95 }],
    ]);
    expect(tokens).toEqual([10, 11, 12, mask]);
    expect(canvas.ended).toBe(false);
  });
});

describe('the text after the cursor', () => {
  const suffixStart = new Set([20, 21]);
  const step = (canvas: Canvas, rows: Distribution[], settings = greedy) => {
    denoisingStep(canvas, predictions(rows), settings, special, { step: 0, wanted: 4, final: false, suffixStart });
    return Array.from(canvas.tokens);
  };

  it('should be preceded by the end, with the probability of its own token', () => {
    const canvas = new Canvas(4, special);
    const rows = [{ 10: 0.95 }, { 20: 0.8, 11: 0.1 }, { 12: 0.2 }, { 13: 0.2 }];
    expect(step(canvas, rows)).toEqual([10, mask, mask, mask]);
    expect(step(canvas, rows)).toEqual([10, eom]);
    expect(canvas.ended).toBe(true);
    expect(canvas.logProbabilityOf(1)).toBeCloseTo(Math.log(0.8), 5);
  });

  it('should end nothing at a slot after undecided ones', () => {
    expect(step(new Canvas(4, special), [{ 10: 0.3 }, { 20: 0.95 }, { 12: 0.2 }, { 13: 0.2 }])).toEqual([
      mask,
      20,
      mask,
      mask,
    ]);
  });

  it('should end a text that is drawn as well', () => {
    const drawn = { ...greedy, temperature: 1 };
    expect(step(new Canvas(4, special), [{ 21: 0.999999 }, {}, {}, {}], drawn)).toEqual([eom]);
  });
});

describe('edit', () => {
  it('should replace a revealed token only when sure of another', () => {
    const canvas = new Canvas(2, special);
    const steps = run(canvas, [
      [{ 10: 0.95 }, { 11: 0.2 }],
      [{ 20: 0.89 }, { 11: 0.2 }],
    ]);
    expect(steps[1]).toEqual([10, 11]);
    expect(run(canvas, [[{ 20: 0.91 }, { 11: 0.2 }]])).toEqual([[20, 11]]);
    expect(canvas.logProbabilityOf(0)).toBeCloseTo(Math.log(0.91), 5);
  });

  it('should edit a slot a limited number of times', () => {
    const flips = Array.from({ length: 5 }, (_, i) => [{ [10 + (i % 2)]: 0.99 }, { 15: 0.1 }]);
    const canvas = new Canvas(2, special);
    const steps = run(canvas, flips);
    expect(steps.map(([first]) => first)).toEqual([10, 11, 10, 10, 10]);
    expect(canvas.editsOf(0)).toBe(2);
  });

  it('should not edit into padding, masks or markers', () => {
    const canvas = new Canvas(2, special);
    run(canvas, [[{ 10: 0.95 }, { 11: 0.2 }]]);
    for (const token of [pad, mask, special.prefix, special.suffix]) {
      expect(run(canvas, [[{ [token]: 0.99 }, { 11: 0.2 }]])[0]![0]).toBe(10);
    }
  });

  it('should be off at threshold 1', () => {
    const canvas = new Canvas(2, special);
    run(canvas, [[{ 10: 0.95 }, { 11: 0.2 }]]);
    expect(run(canvas, [[{ 20: 1 }, { 11: 0.2 }]], { ...greedy, editThreshold: 1 })).toEqual([[10, 11]]);
  });
});

describe('step budget', () => {
  it('should decide every slot in the final step, padding by its best other token', () => {
    const rows = [{ 10: 0.3 }, { [pad]: 0.6, 11: 0.3 }, { 12: 0.95 }];
    expect(run(new Canvas(3, special), [rows], greedy, 3, true)).toEqual([[10, 11, 12]]);
  });

  it('should drop the slots after an end that the final step takes', () => {
    const rows = [{ 10: 0.3 }, { [eom]: 0.4 }, { [pad]: 0.6, 12: 0.3 }];
    expect(run(new Canvas(3, special), [rows], greedy, 3, true)).toEqual([[10, eom]]);
  });

  it('should not edit the end away in the final step', () => {
    const canvas = new Canvas(3, special);
    run(canvas, [[{ 10: 0.2 }, { [eom]: 0.95 }, { [pad]: 0.9 }]]);
    expect(run(canvas, [[{ 10: 0.2 }, { 11: 0.99 }]], greedy, 3, true)).toEqual([[10, eom]]);
  });
});

describe('alternatives', () => {
  const settings = { ...greedy, alternatives: 3 };
  const row = { 10: 0.4, [mask]: 0.3, [pad]: 0.2, 12: 0.05, 13: 0.02 };

  it('should be the most probable tokens that are allowed, as of the reveal', () => {
    const canvas = new Canvas(2, special);
    run(canvas, [[row, { 11: 0.3 }]], settings);
    expect(canvas.alternativesOf(0).map(({ token }) => token)).toEqual([10, pad, 12]);
    expect(canvas.alternativesOf(0)[1]!.logProbability).toBeCloseTo(Math.log(0.2), 5);
    expect(canvas.alternativesOf(1)).toEqual([]);
  });

  it('should be those of the last edit', () => {
    const canvas = new Canvas(2, special);
    const rows = [
      [row, { 11: 0.3 }],
      [{ 20: 0.95, 21: 0.02 }, { 11: 0.3 }],
    ];
    run(canvas, rows, settings);
    expect(canvas.alternativesOf(0).slice(0, 2)).toMatchObject([{ token: 20 }, { token: 21 }]);
  });

  it('should reach beyond the candidates', () => {
    const canvas = new Canvas(1, special);
    run(canvas, [[row]], { ...greedy, alternatives: 20 });
    const found = canvas.alternativesOf(0);
    expect(found).toHaveLength(20);
    expect(new Set(found.map(({ token }) => token)).size).toBe(20);
    const ordered = found.map(({ logProbability }) => logProbability);
    expect(ordered).toEqual(ordered.toSorted((a, b) => b - a));
  });
});

describe('termination', () => {
  it('should end for any predictions', () => {
    const random = mulberry32(7);
    const anything = (): Distribution => ({ [Math.floor(random() * VOCABULARY)]: random(), [eom]: 0.3 * random() });
    for (let round = 0; round < 200; round++) {
      const canvas = new Canvas(8, special);
      let steps = 0;
      while (canvas.undecided(8).length > 0) {
        const rows = Array.from(canvas.tokens, anything);
        denoisingStep(canvas, predictions(rows), greedy, special, { step: steps++, wanted: 8, final: false });
        // Each edit of an end can reopen at most the other seven slots.
        expect(steps).toBeLessThanOrEqual(8 + 8 * greedy.maxEditsPerSlot * 7);
      }
      expect(canvas.tokens).not.toContain(mask);
      expect(canvas.tokens).not.toContain(pad);
    }
  });
});

describe('temperature', () => {
  const drawn = (settings: Partial<SamplerSettings>, row: Distribution, count: number) => {
    const counts = new Map<number, number>();
    for (let seed = 0; seed < count; seed++) {
      const canvas = new Canvas(1, special);
      run(canvas, [[row]], { ...greedy, temperature: 1, ...settings, seed });
      const token = canvas.tokens[0]!;
      counts.set(token, (counts.get(token) ?? 0) + 1);
    }
    return counts;
  };
  const row = { 10: 0.6, 11: 0.3, 12: 0.0999 };

  it('should draw tokens as often as they are likely', () => {
    const counts = drawn({}, row, 4000);
    expect(counts.get(10)! / 4000).toBeCloseTo(0.6, 1);
    expect(counts.get(11)! / 4000).toBeCloseTo(0.3, 1);
    expect(counts.get(12)! / 4000).toBeCloseTo(0.1, 1);
  });

  it('should sharpen the distribution at low temperature', () => {
    const counts = drawn({ temperature: 0.5 }, row, 4000);
    expect(counts.get(10)! / 4000).toBeCloseTo(0.36 / (0.36 + 0.09 + 0.01), 1);
  });

  it.each([
    [0.5, [10]],
    [0.7, [10, 11]],
    [0.95, [10, 11, 12]],
  ])('should draw from the nucleus of %d only', (topP, tokens) => {
    expect([...drawn({ topP }, row, 500).keys()].sort()).toEqual(tokens);
  });

  it('should never draw a mask or a marker', () => {
    const counts = drawn({}, { [mask]: 0.5, [special.prefix]: 0.3, 10: 0.19 }, 300);
    for (const token of [mask, special.prefix, special.suffix, pad]) expect(counts.has(token)).toBe(false);
  });

  it('should reveal nothing that is less sure than a slot that drew another token than its best', () => {
    const rows = [{ 10: 0.55, 11: 0.45 }, { 12: 0.9, 13: 0.1 }, { 14: 0.6, 15: 0.4 }, { 16: 1 }];
    const bests = [10, 12, 14, 16];
    const surest = [3, 1, 2, 0];
    const counts = new Map<number, number>();
    for (let seed = 0; seed < 300; seed++) {
      const canvas = new Canvas(4, special);
      const settings = { ...greedy, temperature: 1, revealThreshold: 0.05, seed };
      const [tokens] = run(canvas, [rows], settings);
      const revealed = surest.filter((slot) => tokens![slot] !== mask);
      expect(revealed).toEqual(surest.slice(0, revealed.length));
      for (const slot of revealed.slice(0, -1)) expect(tokens![slot]).toBe(bests[slot]);
      const last = revealed.at(-1)!;
      if (revealed.length < 4) expect(tokens![last]).not.toBe(bests[last]);
      counts.set(revealed.length, (counts.get(revealed.length) ?? 0) + 1);
    }
    expect([...counts.keys()].sort()).toEqual([2, 3, 4]);
  });

  it('should take its confidence from the distribution at temperature 1', () => {
    const canvas = new Canvas(1, special);
    run(canvas, [[{ 10: 0.999 }]], { ...greedy, temperature: 3, topP: 0.01 });
    expect(canvas.logProbabilityOf(0)).toBeCloseTo(Math.log(0.999), 5);
  });

  it('should give the same tokens for the same seed, others for others', () => {
    const rows = Array.from({ length: 8 }, () => ({ 10: 0.4, 11: 0.3, 12: 0.2 }));
    const text = (seed: number) => {
      const canvas = new Canvas(8, special);
      run(canvas, [rows], { ...greedy, temperature: 1, seed }, 8, true);
      return canvas.tokens.join();
    };
    expect(text(5)).toBe(text(5));
    expect(new Set([1, 2, 3, 4, 5].map(text)).size).toBeGreaterThan(3);
  });
});

describe('freezing', () => {
  const once: SamplerSettings = { ...greedy, freezeAfter: 1 };

  /** A step over the slots that have to be computed; each distribution is for the slot above it. */
  function step(canvas: Canvas, rows: Record<number, Distribution>, settings = once, number = 0): number[] {
    const slots = canvas.unfrozen(settings.freezeAfter);
    expect(slots).toEqual(Object.keys(rows).map(Number));
    const options = { step: number, wanted: canvas.slots, final: false, slots };
    denoisingStep(canvas, predictions(Object.values(rows)), settings, special, options);
    return Array.from(canvas.tokens);
  }

  it('should compute a revealed slot once more, and then leave it as it is', () => {
    const canvas = new Canvas(3, special);
    expect(step(canvas, { 0: { 10: 0.95 }, 1: { 11: 0.2 }, 2: { 12: 0.3 } })).toEqual([10, mask, mask]);
    expect(isSettled(canvas, 0, once)).toBe(false);
    expect(step(canvas, { 0: { 10: 0.5 }, 1: { 11: 0.2 }, 2: { 12: 0.95 } })).toEqual([10, mask, 12]);
    expect(isSettled(canvas, 0, once)).toBe(true);
    expect(step(canvas, { 1: { 11: 0.2 }, 2: { 12: 0.4 } })).toEqual([10, 11, 12]);
  });

  it('should take the row of each slot, not the row of its number', () => {
    const canvas = new Canvas(4, special);
    step(canvas, { 0: { 10: 0.95 }, 1: { 11: 0.95 }, 2: { 12: 0.2 }, 3: { 13: 0.3 } });
    step(
      canvas,
      { 0: { 10: 0.5 }, 1: { 11: 0.5 }, 2: { 12: 0.2 }, 3: { 13: 0.4 } },
      { ...once, revealThreshold: 0.99 },
    );
    const sampled = { ...once, temperature: 1, topP: 0.1 };
    expect(step(canvas, { 2: { 20: 0.95 }, 3: { 21: 0.5 } }, sampled)).toEqual([10, 11, 20, 13]);
    expect(canvas.logProbabilityOf(2)).toBeCloseTo(Math.log(0.95), 5);
  });

  it('should edit a slot when it is computed for the last time, and compute it again then', () => {
    const canvas = new Canvas(2, special);
    step(canvas, { 0: { 10: 0.95 }, 1: { 11: 0.2 } });
    expect(step(canvas, { 0: { 20: 0.97 }, 1: { 11: 0.3 } })).toEqual([20, 11]);
    expect(canvas.editsOf(0)).toBe(1);
    expect(canvas.unfrozen(1)).toEqual([0, 1]);
  });

  it('should compute slots that were dropped and come back, and all of them after a new start', () => {
    const canvas = new Canvas(4, special);
    step(canvas, { 0: { 10: 0.3 }, 1: { [eom]: 0.95 }, 2: { 12: 0.95 }, 3: { 13: 0.95 } });
    expect(canvas.unfrozen(1)).toEqual([0, 1]);
    expect(step(canvas, { 0: { 10: 0.95 }, 1: { 11: 0.97 } })).toEqual([10, 11, mask, mask]);
    expect(canvas.unfrozen(1)).toEqual([0, 1, 2, 3]);
    canvas.restart();
    expect(Array.from(canvas.tokens)).toEqual([mask, mask, mask, mask]);
    expect(canvas.editsOf(1)).toBe(0);
    expect(canvas.unfrozen(1)).toEqual([0, 1, 2, 3]);
  });
});
