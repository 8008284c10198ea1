import { describe, expect, it } from 'vitest';
import { canvasWidth } from '../../../src/engine/three-stream/canvas-width.ts';

const widths = [8, 16, 32];
const MANY = 1000;

describe('canvasWidth', () => {
  it('should open the nearest width that the model knows', () => {
    expect(canvasWidth(widths, MANY, 16)).toBe(16);
    expect(canvasWidth(widths, MANY, 31)).toBe(16);
    expect(canvasWidth(widths, MANY, 3)).toBe(8);
    expect(canvasWidth(widths, MANY, Number.POSITIVE_INFINITY)).toBe(32);
    expect(canvasWidth([12], MANY, 2)).toBe(12);
    expect(canvasWidth([1, 2, 32], MANY, 2)).toBe(2);
  });

  it.each([
    [1, 8],
    [8, 8],
    [9, 16],
    [16, 16],
    [17, 32],
    [100, 32],
  ])('should not open more than holds %i tokens', (left, width) => {
    expect(canvasWidth(widths, left, 32)).toBe(width);
  });
});
