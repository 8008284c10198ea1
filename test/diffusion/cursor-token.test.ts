import { describe, expect, it } from 'vitest';
import { Canvas } from '../../src/diffusion/canvas.ts';
import { CursorToken, TokenTable } from '../../src/diffusion/cursor-token.ts';
import { nextTokenStep } from '../../src/diffusion/next-token.ts';
import { denoisingStep, type SamplerSettings } from '../../src/diffusion/sampler.ts';
import { loadTokenizer } from '../../src/tokenizer/tokenizer.ts';
import { byteId, mergedId, sampleTokenizer } from '../tokenizer/sample-tokenizer.ts';
import { predictions, special } from './scripted.ts';

const tokenizer = loadTokenizer(sampleTokenizer());
const table = new TokenTable(tokenizer);
const { prefix, endOfText } = tokenizer.special;
const id = (character: string) => byteId(character.charCodeAt(0));
const names = (ids: Iterable<number>) => [...ids].map((token) => tokenizer.nameOf(token)).sort();

describe('takeOff', () => {
  // Tokens of more than one byte: `  `, `    `, in, re, tu, retu, retur, return, ` in`, ==
  it.each([
    ['x retur', 'x ', 'retur'],
    ['x return', 'x return', ''],
    ['xre', 'x', 're'],
    ['x = ', 'x =', ' '],
    ['x =', 'x ', '='],
    ['x   ', 'x', '   '],
    ['x;', 'x;', ''],
    ['', '', ''],
  ])('should take off %j what may be the beginning of one token', (text, left, begun) => {
    const taken = table.takeOff([prefix, endOfText, ...tokenizer.encode(text)]);
    expect({ left: tokenizer.decode(taken.kept), begun: taken.begun }).toEqual({ left, begun });
  });

  it('should leave the marker and a token after it', () => {
    const cut = [prefix, mergedId.retur!];
    expect(table.takeOff(cut)).toEqual({ kept: cut, begun: '' });
  });

  it('should take off whole characters', () => {
    const taken = table.takeOff([prefix, endOfText, ...tokenizer.encode('né ')]);
    expect(tokenizer.decode(taken.kept)).toBe('né');
    // A vocabulary in which the last byte of é begins a token.
    const json = sampleTokenizer();
    json.model.merges.push(['©', '©']);
    json.model.vocab['©©'] = 272;
    const other = loadTokenizer(json);
    const { kept, begun } = new TokenTable(other).takeOff([prefix, endOfText, ...other.encode('né')]);
    expect({ left: other.decode(kept), begun }).toEqual({ left: 'n', begun: 'Ã©' });
  });
});

describe('agreeing', () => {
  it('should give what begins with the bytes and what they begin with', () => {
    expect(names(table.agreeing('retu'))).toEqual(['r', 're', 'retu', 'retur', 'return']);
    expect(names(table.agreeing('='))).toEqual(['=', '==']);
    expect(names(table.agreeing('xy'))).toEqual(['x']);
  });

  it('should bind token after token until the bytes are said', () => {
    const cursor = new CursorToken('retu', table);
    expect(names(cursor.agreeing([id('r')])!)).toEqual(['e']);
    expect(names(cursor.agreeing([mergedId.re!])!)).toEqual(['t', 'tu']);
    expect(cursor.agreeing([mergedId.re!, mergedId.tu!])).toBeUndefined();
    expect(cursor.agreeing([mergedId.return!])).toBeUndefined();
  });

  it('should count tokens that say nothing after the cursor', () => {
    const cursor = new CursorToken('retu', table);
    expect(cursor.silentCount([mergedId.re!, mergedId.tu!, id('r')])).toBe(2);
    expect(cursor.silentCount([mergedId.return!, id('r')])).toBe(0);
    expect(cursor.bytesBeforeCursor([], mergedId.return!)).toBe(4);
    expect(cursor.bytesBeforeCursor([mergedId.re!], mergedId.tu!)).toBe(2);
    expect(cursor.bytesBeforeCursor([mergedId.return!], id('r'))).toBe(0);
  });
});

describe('a canvas that completes the token of the cursor', () => {
  const greedy: SamplerSettings = {
    temperature: 0,
    topP: 1,
    seed: 1,
    revealThreshold: 0.6,
    editThreshold: 0.6,
    maxEditsPerSlot: 2,
    freezeAfter: Number.POSITIVE_INFINITY,
  };
  /** Tokens that agree while less than two have been said. */
  const binding = (...allowed: number[]) => ({
    agreeing: (before: readonly number[]) => (before.length < 2 ? new Set(allowed) : undefined),
    isSilent: () => false,
  });
  const twoOf = (...allowed: number[]) => ({ cursor: binding(...allowed) });
  const options = { step: 0, wanted: 3, final: false };
  const rows = () => predictions([{ 10: 0.9, 11: 0.06, 12: 0.03 }, { 10: 0.9, 12: 0.05 }, { 13: 0.9 }]);

  it('should reveal only the leftmost slot, even if others are more confident, and as the only tokens that agree have it', () => {
    const canvas = new Canvas(3, special);
    denoisingStep(canvas, rows(), greedy, special, { ...options, ...twoOf(11, 12) });
    expect([...canvas.tokens]).toEqual([11, special.mask, special.mask]);
    expect(Math.exp(canvas.logProbabilityOf(0))).toBeCloseTo(0.06 / 0.09, 5);
  });

  it('should reveal confident slots next to the one that completes it, and edit none of its slots', () => {
    const canvas = new Canvas(3, special);
    denoisingStep(canvas, rows(), greedy, special, { ...options, ...twoOf(11, 12) });
    denoisingStep(canvas, rows(), greedy, special, { ...options, ...twoOf(11, 12) });
    expect([...canvas.tokens]).toEqual([11, 12, 13]);
    denoisingStep(canvas, rows(), greedy, special, { ...options, ...twoOf(11, 12) });
    expect([...canvas.tokens]).toEqual([11, 12, 13]);
  });

  it('should complete it in the last step of a budget', () => {
    const canvas = new Canvas(3, special);
    denoisingStep(canvas, rows(), greedy, special, { ...options, ...twoOf(11, 12), final: true });
    expect([...canvas.tokens]).toEqual([11, 12, 13]);
  });

  it('should draw among those that agree', () => {
    const seen = new Set<number>();
    for (let seed = 0; seed < 64; seed++) {
      const canvas = new Canvas(3, special);
      denoisingStep(canvas, rows(), { ...greedy, temperature: 1, seed }, special, { ...options, ...twoOf(11, 12) });
      expect(canvas.tokens[1]).toBe(special.mask);
      seen.add(canvas.tokens[0]!);
    }
    expect([...seen].sort()).toEqual([11, 12]);
  });

  it('should give the most probable of those that agree as alternatives', () => {
    const canvas = new Canvas(1, special);
    const settings = { ...greedy, alternatives: 2 };
    nextTokenStep(canvas, predictions([{ 10: 0.9, 11: 0.06, 12: 0.03 }]), settings, special, 0, [], binding(12, 11));
    expect(canvas.alternativesOf(0).map(({ token }) => token)).toEqual([11, 12]);
  });
});

describe('rows of a shifted canvas', () => {
  const before = 20;
  const reveal = (canvas: Canvas, slot: number, token: number) => canvas.reveal(slot, { token, logProbability: -0.1 });

  it('should be the token before it and those of all slots but the last', () => {
    const canvas = new Canvas(3, special, before);
    reveal(canvas, 0, 10);
    reveal(canvas, 2, 12);
    expect([...canvas.rows]).toEqual([before, 10, special.mask]);
  });

  it('should hold the end of the text, where there is room', () => {
    const canvas = new Canvas(4, special, before);
    reveal(canvas, 1, special.eom);
    canvas.dropBehindEnd();
    expect([...canvas.rows]).toEqual([before, special.mask, special.eom]);
    reveal(canvas, 1, 10);
    canvas.dropBehindEnd();
    expect([...canvas.rows]).toEqual([before, special.mask, 10, special.mask]);
  });

  it('should be computed again when their token has changed, though their slot is frozen', () => {
    const canvas = new Canvas(3, special, before);
    expect(canvas.unfrozen(1)).toEqual([0, 1, 2]);
    reveal(canvas, 2, 12);
    canvas.recordEvaluation([0, 1, 2]);
    canvas.recordEvaluation([0, 1, 2]);
    reveal(canvas, 0, 10);
    expect(canvas.unfrozen(1)).toEqual([0, 1]);
    canvas.recordEvaluation([0, 1]);
    expect(canvas.unfrozen(1)).toEqual([1]);
    reveal(canvas, 1, 11);
    expect(canvas.unfrozen(1)).toEqual([1, 2]);
    canvas.restart();
    expect(canvas.unfrozen(1)).toEqual([0, 1, 2]);
  });
});
