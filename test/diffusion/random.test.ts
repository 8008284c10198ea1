import { expect, it } from 'vitest';
import { uniform } from '../../src/diffusion/random.ts';

it('should spread evenly over [0, 1) along every counter', () => {
  const draws = {
    seed: (i: number) => uniform(i, 0, 0),
    step: (i: number) => uniform(1, i, 0),
    slot: (i: number) => uniform(1, 0, i),
  };
  for (const draw of Object.values(draws)) {
    const counts = new Array<number>(10).fill(0);
    for (let i = 0; i < 10_000; i++) counts[Math.floor(draw(i) * 10)]!++;
    // Five standard deviations of a fair share of 1,000.
    for (const count of counts) expect(Math.abs(count - 1000)).toBeLessThan(150);
  }
});

it('should depend on seed, step and slot and on nothing else', () => {
  const all = [0, 1, 2].flatMap((seed) =>
    [0, 1, 2].flatMap((step) => [0, 1, 2].map((slot) => uniform(seed, step, slot))),
  );
  expect(new Set(all).size).toBe(27);
  expect(uniform(2 ** 32 - 1, 3, 4)).toBe(uniform(2 ** 32 - 1, 3, 4));
});
