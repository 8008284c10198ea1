import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { joinOf, lengthBeforeJoin } from '../../src/engine/word-join.ts';

/** `█` is the place at which the completion joins the suffix. */
const joins: [text: string, suffix: string][] = [
  ['i█on: number; first: string;', 'on: number; second'],
  ['st█ate. Then', 'ate while'],
  [': an█y;', 'y;\n'],
  ['c█ies.', 'ies. Running'],
  ['x, █bar)', 'bar)'],
  ['ô█té = 1', 'té = 2'],
  ['█on', 'on: number'],
];

describe('joinOf', () => {
  it.each(joins)('should be where a word becomes the rest of the word: %s before %s', (marked, suffix) => {
    expect(joinOf(marked.replace('█', ''), suffix, true)).toBe(marked.indexOf('█'));
  });

  it.each([
    ['a(b', ')', true],
    ['the', '', true],
    ['name', ' = e', true],
    // One letter at the end may be needed twice.
    ['n', 'n', true],
    // Another character follows there.
    ['is: a', 's = a', true],
    // The word may go on.
    ['i', 'i = 0', false],
    ['ion', 'on: number', false],
  ])('should not be in %j before %j (whole: %s)', (text, suffix, isWhole) => {
    expect(joinOf(text, suffix, isWhole)).toBeUndefined();
  });

  it('should not move as a text grows, and be after what it could not cut', () => {
    const piece = fc.stringMatching(/^[ab. ]{0,12}$/);
    fc.assert(
      fc.property(piece, piece, fc.stringMatching(/^[ab]{1,3}[. ][ab]?$/), (text, more, suffix) => {
        const before = joinOf(text, suffix, false);
        const after = joinOf(text + more, suffix, false);
        if (before === undefined)
          expect(after ?? Number.POSITIVE_INFINITY).toBeGreaterThanOrEqual(lengthBeforeJoin(text, suffix));
        else expect(after).toBe(before);
        const whole = joinOf(text, suffix, true);
        expect(whole ?? text.length).toBeGreaterThanOrEqual(before ?? lengthBeforeJoin(text, suffix));
      }),
    );
  });
});
