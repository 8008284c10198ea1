import { describe, expect, it } from 'vitest';
import { buildPrompt } from '../../src/engine/three-stream/prompt.ts';
import { loadTokenizer } from '../../src/tokenizer/tokenizer.ts';
import { sampleTokenizer, specialTokens } from '../tokenizer/sample-tokenizer.ts';

const tokenizer = loadTokenizer(sampleTokenizer());
const limits = {
  canvasSlots: 12,
  canvasWidths: [12],
  prefixTokens: 64,
  suffixTokens: 48,
  revealThreshold: 0.9,
  editThreshold: 0.9,
  maxEditsPerSlot: 2,
};
const build = (prefix: string, suffix: string) => buildPrompt({ prefix, suffix }, tokenizer, limits);
/** One token a character. */
const text = (length: number) => Array.from({ length }, (_, i) => 'abc+1'[i % 5]).join('');

describe('buildPrompt', () => {
  it('should mark the start of a whole text and read the suffix backwards', () => {
    const { prefix, suffix, truncatedTokens } = build('return', 'x==');
    expect(prefix).toEqual([specialTokens.prefix, specialTokens.endOfText, ...tokenizer.encode('return')]);
    expect(suffix).toEqual([specialTokens.suffix, ...tokenizer.encode('x==').reverse()]);
    expect(truncatedTokens).toBe(0);
  });

  it('should have no suffix stream without a suffix', () => {
    expect(build('', '')).toEqual({
      prefix: [specialTokens.prefix, specialTokens.endOfText],
      suffix: [],
      truncatedTokens: 0,
    });
  });

  it.each([62, 63, 64, 65, 100, 500, 5000, 100_000])('should cut %i tokens on the far sides to what fits', (length) => {
    const [left, right] = [text(length), text(length)];
    const { prefix, suffix, truncatedTokens } = build(left, right);
    expect(prefix.length).toBeLessThanOrEqual(1 + limits.prefixTokens);
    expect(suffix.length).toBeLessThanOrEqual(1 + limits.suffixTokens);
    const kept = prefix.filter((id) => id !== specialTokens.prefix && id !== specialTokens.endOfText);
    expect(left.endsWith(tokenizer.decode(kept))).toBe(true);
    expect(right.startsWith(tokenizer.decode(suffix.toReversed()))).toBe(true);
    expect(prefix.includes(specialTokens.endOfText)).toBe(length < limits.prefixTokens);
    if (length > limits.prefixTokens) expect(kept.length).toBeGreaterThan(limits.prefixTokens * 0.8);
    // The start marker of the document counts when it is cut.
    const cut = 2 * length - kept.length - (suffix.length - 1);
    expect(Math.abs(truncatedTokens - cut)).toBeLessThanOrEqual(1);
  });

  it('should keep the window still over most key strokes', () => {
    const starts = new Set<string>();
    for (let length = 2000; length < 2064; length++) starts.add(build(text(length), '').prefix.slice(1, 9).join());
    expect(starts.size).toBeLessThanOrEqual(64 / 8 + 1);
    const ends = new Set<string>();
    const whole = text(2064);
    for (let start = 0; start < 64; start++) ends.add(build('', whole.slice(start)).suffix.slice(1, 9).join());
    expect(ends.size).toBeLessThanOrEqual(64 / 6 + 1);
  });

  it('should not split a surrogate pair', () => {
    const { prefix } = build('😀'.repeat(3000), '😀'.repeat(3001));
    expect(tokenizer.decode(prefix)).toMatch(/^\ufffd{0,3}(😀)*$/u);
    expect(tokenizer.decode(build('a', `${'😀'.repeat(3001)}`).suffix.toReversed())).toMatch(/^(😀)*\ufffd?$/u);
  });
});
