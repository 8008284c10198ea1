import { describe, expect, it } from 'vitest';
import { glyphs } from '../../playground/src/canvas/lane.ts';
import {
  captionAfter,
  cpuMsAfter,
  momentsOf,
  type Recording,
  slotsAfter,
  storiesAfter,
} from '../../playground/src/canvas/recording.ts';
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

  it('should tell the processor time after a pass', () => {
    expect([0, 2, 9].map((count) => cpuMsAfter(diffusion, count))).toEqual([0, 6, 9]);
  });
});

describe('the story of a slot', () => {
  const end: SlotView = { state: 'end', text: '', confidence: 0.8 };
  const dropped: SlotView = { state: 'dropped', text: '', confidence: 0 };
  const { change: _, ...kept } = token('b');
  const edited: Recording = {
    decoding: 'diffusion',
    steps: [
      step(0, 1, mask, token('b'), mask, mask),
      step(0, 2, token('x'), kept, { ...end, change: 'reveal' }, { ...dropped, change: 'drop' }),
      step(0, 3, { ...token('a'), change: 'edit' }, kept, end, dropped),
    ],
  };
  const decided = (count: number) => storiesAfter(edited, count).map(({ decidedIn }) => decidedIn);

  it('should tell in which pass it was decided', () => {
    expect(decided(0)).toEqual([undefined, undefined, undefined, undefined]);
    expect(decided(1)).toEqual([undefined, 1, undefined, undefined]);
    expect(decided(3)).toEqual([2, 1, 2, undefined]);
  });

  it('should tell what was there before, from the edit on', () => {
    expect(storiesAfter(edited, 2)[0]!.edits).toEqual([]);
    expect(storiesAfter(edited, 3)[0]!.edits).toEqual([{ pass: 3, from: 'x' }]);
  });

  it('should have as many slots before the last canvas has begun as at the end', () => {
    expect([0, 1, 2, 3].map((count) => storiesAfter(diffusion, count).length)).toEqual([4, 4, 4, 4]);
    expect(storiesAfter(diffusion, 3).map(({ decidedIn }) => decidedIn)).toEqual([1, 2, 3, undefined]);
  });

  it('should be told in words, pass by pass', () => {
    expect([0, 1, 2, 3].map((count) => captionAfter(edited, count))).toEqual([
      'Noise: no slot is decided.',
      'Pass 1 fills “b”.',
      'Pass 2 fills “x”, finds the end.',
      'Pass 3 edits “x” to “a”.',
    ]);
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
  it('should give line ends and mere white space a shape, and noise the same one each time', () => {
    expect(glyphs(token(' a\t'), 0)).toBe(' a⇥');
    expect(glyphs(token(';\n    '), 0)).toBe(';⏎');
    expect(glyphs(token('  '), 0)).toBe('··');
    expect(glyphs(mask, 3)).toBe(glyphs(mask, 3));
    expect(glyphs({ state: 'end', text: '', confidence: 1 }, 0)).toBe('■');
    expect(glyphs({ state: 'dropped', text: '', confidence: 0 }, 0)).toBe('');
  });
});
