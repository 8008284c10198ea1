import { describe, expect, it } from 'vitest';
import { findStop, lengthBeforePartialStop } from '../../src/engine/stop-strings.ts';

describe('findStop', () => {
  it.each([
    ['abc', ['c', 'b'], 1],
    ['abc', ['x'], -1],
    ['abc', [], -1],
    ['a\n\nb', ['\n\n', '\n'], 1],
  ])('should find the first of them in %j: %j', (text, stops, index) => {
    expect(findStop(text, stops)).toBe(index);
  });
});

describe('lengthBeforePartialStop', () => {
  it.each([
    ['abc', ['cd'], 2],
    ['abc', ['cd', 'bcd'], 1],
    ['abc', ['abcd'], 0],
    ['abc', ['b'], 3],
    ['abab', ['abac'], 2],
    ['abc', [], 3],
    ['', ['a'], 0],
  ])('should hold back the end of %j that %j could continue', (text, stops, length) => {
    expect(lengthBeforePartialStop(text, stops)).toBe(length);
  });
});
