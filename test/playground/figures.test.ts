import { describe, expect, it } from 'vitest';
import { milliseconds, percent } from '../../playground/src/figures.ts';
import { nothingToShow } from '../../playground/src/nothing.ts';

describe('figures', () => {
  it('should never be parted from their units', () => {
    expect([0.04, 9.94, 9.96, 1234].map(milliseconds)).toEqual([
      ...['0.0\u00a0ms', '9.9\u00a0ms', '10\u00a0ms', '1234\u00a0ms'],
    ]);
    expect(milliseconds(undefined)).toBe('–');
  });

  it('should not call a share 0 % that is more than that', () => {
    expect([0, 0.001, 0.014, 1].map(percent)).toEqual(['0\u00a0%', 'under 1\u00a0%', '1\u00a0%', '100\u00a0%']);
  });
});

describe('an empty completion', () => {
  it('should be told apart from one that the model is not sure of', () => {
    expect(nothingToShow({ endedBy: 'end', confidence: 0.97 })).toBe('Nothing to add here.');
    expect(nothingToShow({ endedBy: 'editor', confidence: 0.5 })).toBe('Nothing to add here.');
    expect(nothingToShow({ endedBy: 'unsure', confidence: 0.0004 })).toMatch(/^Not sure .* \(under 1\u00a0%\)\.$/);
    expect(nothingToShow({ endedBy: 'unsure', confidence: undefined })).toMatch(/^Not sure [^(]*\.$/);
  });
});
