import { describe, expect, it } from 'vitest';
import { glyphs } from '../../playground/src/canvas/lane.ts';
import { cpuMsAfter, momentsOf, type Recording, slotsAfter, textAfter } from '../../playground/src/canvas/recording.ts';
import type { SlotView } from '../../src/engine/types.ts';

const token = (text: string): SlotView => ({ state: 'token', text, confidence: 0.9, change: 'reveal' });
const mask: SlotView = { state: 'mask', text: '', confidence: 0 };

const step = (block: number, cpuMs: number, ...slots: SlotView[]) => ({
  text: slots.map(({ text }) => text).join(''),
  block,
  cpuMs,
  slots,
});

/** Two canvases of two slots: the first takes two steps, the second one. */
const diffusion: Recording = {
  decoding: 'diffusion',
  steps: [step(0, 3, token('a'), mask), step(0, 6, token('a'), token('b')), step(1, 9, token('c'), mask)],
};

const autoregressive: Recording = {
  decoding: 'autoregressive',
  steps: [step(0, 1, token('x'), mask), step(0, 2, token('x'), token('y'))],
};

const textsOf = (slots: readonly SlotView[]) =>
  slots.map(({ state, text }) => (state === 'mask' ? '?' : text)).join('');

describe('a recording', () => {
  it('should begin with noise and keep the canvases that are finished before the current one', () => {
    expect([0, 1, 2, 3].map((count) => textsOf(slotsAfter(diffusion, count)))).toEqual(['??', 'a?', 'ab', 'abc?']);
  });

  it('should not show what happened to a canvas that is finished', () => {
    expect(slotsAfter(diffusion, 3).map(({ change }) => change)).toEqual([undefined, undefined, 'reveal', undefined]);
  });

  it('should end with the text of its result', () => {
    const result = { text: 'abc', finishReason: 'stop', confidence: 1 } as NonNullable<Recording['result']>;
    expect(textAfter({ ...diffusion, result }, 3)).toBe('abc');
    expect(textAfter({ ...diffusion, result }, 2)).toBe('ab');
    expect(textAfter(diffusion, 0)).toBe('');
    expect(cpuMsAfter(diffusion, 2)).toBe(6);
  });
});

describe('two recordings in one time', () => {
  it('should be laid side by side pass by pass, the shorter one waiting at its end', () => {
    expect(momentsOf([diffusion, autoregressive], 'passes').map(({ counts }) => counts)).toEqual([
      [0, 0],
      [1, 1],
      [2, 2],
      [3, 2],
    ]);
  });

  it('should be laid side by side by their processor time', () => {
    expect(momentsOf([diffusion, autoregressive], 'cpu')).toEqual([
      { at: 0, counts: [0, 0] },
      { at: 1, counts: [0, 1] },
      { at: 2, counts: [0, 2] },
      { at: 3, counts: [1, 2] },
      { at: 6, counts: [2, 2] },
      { at: 9, counts: [3, 2] },
    ]);
  });

  it('should count passes if the clock stands still', () => {
    const still = { ...diffusion, steps: diffusion.steps.map((each) => ({ ...each, cpuMs: 0 })) };
    expect(momentsOf([still], 'cpu')).toEqual(momentsOf([still], 'passes'));
  });
});

describe('glyphs', () => {
  it('should give white space a shape, and noise the same one each time', () => {
    expect(glyphs(token(' a\n\t'), 0)).toBe('·a⏎⇥');
    expect(glyphs(mask, 3)).toBe(glyphs(mask, 3));
    expect(glyphs({ state: 'end', text: '', confidence: 1 }, 0)).toBe('■');
    expect(glyphs({ state: 'dropped', text: '', confidence: 0 }, 0)).toBe('');
  });
});
