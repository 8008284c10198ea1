import { describe, expect, it } from 'vitest';
import { canvasWidth, DEFAULT_WIDTHS, type WidthPolicy } from '../../src/engine/canvas-width.ts';

const widths = [8, 16, 32];
const MANY = 1000;

/** Widths of the first canvases of a long completion. */
const blocks = (policy: WidthPolicy) => [0, 1, 2, 3].map((block) => canvasWidth(widths, block, MANY, policy));

describe('canvasWidth', () => {
  it('should open canvases of one width, or each wider than the one before', () => {
    expect(blocks({ firstWidth: 8, widens: false })).toEqual([8, 8, 8, 8]);
    expect(blocks({ firstWidth: 8, widens: true })).toEqual([8, 16, 32, 32]);
    expect(blocks({ firstWidth: 16, widens: true })).toEqual([16, 32, 32, 32]);
  });

  it('should open the nearest width that the model knows', () => {
    expect(blocks({ firstWidth: 31, widens: false })[0]).toBe(16);
    expect(blocks({ firstWidth: 3, widens: false })[0]).toBe(8);
    expect(blocks({ firstWidth: Number.POSITIVE_INFINITY, widens: false })[0]).toBe(32);
    expect(canvasWidth([12], 5, MANY, DEFAULT_WIDTHS)).toBe(12);
  });

  it.each([
    [1, 8],
    [8, 8],
    [9, 16],
    [16, 16],
    [17, 32],
    [100, 32],
  ])('should not open more than holds %i tokens', (left, width) => {
    expect(canvasWidth(widths, 0, left, { firstWidth: 32, widens: false })).toBe(width);
    expect(canvasWidth(widths, 9, left, { firstWidth: 8, widens: true })).toBe(width);
  });
});
