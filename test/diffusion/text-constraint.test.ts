import { describe, expect, it } from 'vitest';
import { Canvas } from '../../src/diffusion/canvas.ts';
import { nextTokenStep } from '../../src/diffusion/next-token.ts';
import { uniform } from '../../src/diffusion/random.ts';
import { denoisingStep, type SamplerSettings } from '../../src/diffusion/sampler.ts';
import { textConstraint } from '../../src/diffusion/text-constraint.ts';
import { loadTokenizer } from '../../src/tokenizer/tokenizer.ts';
import { byteId, mergedId, sampleTokenizer, specialTokens as special } from '../tokenizer/sample-tokenizer.ts';
import { rowsOf } from './scripted.ts';

const tokenizer = loadTokenizer(sampleTokenizer());
const bytes = (...values: number[]) => values.map(byteId);
const M = special.mask;
const NOWHERE = { prefix: '', suffix: '' };

/** Tokens that may be in a slot of a canvas, for some bytes. */
function permitted(canvas: number[], slot: number, of: number[], written: number[] = [], around = NOWHERE): number[] {
  const on = textConstraint(tokenizer, around).on(canvas, written);
  return of.filter((byte) => on.permits(slot, byteId(byte)));
}

/** Whether masks can be filled so that the bytes are UTF-8: by trying. */
function canBecomeText(tokens: readonly number[], gaps: readonly number[][]): boolean {
  const at = tokens.indexOf(M);
  if (at < 0) return isText(tokens);
  return gaps.some((fill) => canBecomeText([...tokens.slice(0, at), ...fill, ...tokens.slice(at + 1)], gaps));
}

function isText(tokens: readonly number[]): boolean {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  try {
    decoder.decode(
      Uint8Array.from(tokens, (token) => token - byteId(0)),
      { stream: true },
    );
    return true;
  } catch {
    return false;
  }
}

describe('the constraint', () => {
  it.each([
    ['a character begins anywhere', [M, M, M], 0, [0x41, 0xc3, 0xe2, 0xf0], [], [0x41, 0xc3, 0xe2, 0xf0]],
    ['none goes on at the beginning of a text', [M, M], 0, [0x80, 0xbf, 0x41], [], [0x41]],
    [
      'one goes on where it was begun before the canvas',
      [M, M],
      0,
      [0x80, 0x94, 0x41],
      bytes(0xe2, 0x80),
      [0x80, 0x94].slice(0),
    ],
    ['an overlong form is none', [M, M, M], 0, [0xc0, 0xc1, 0xc2, 0xf4, 0xf5, 0xff], [], [0xc2, 0xf4]],
    ['a surrogate is none', [byteId(0xed), M, M], 1, [0x9f, 0xa0, 0x80], [], [0x9f, 0x80]],
    ['beyond the last code point is none', [byteId(0xf4), M, M, M], 1, [0x8f, 0x90], [], [0x8f]],
    ['a mask between may begin it', [M, M, M], 1, [0x94, 0x41], [], [0x94, 0x41]],
    ['too few masks between cannot', [byteId(0x41), M, ...bytes(0x94, 0x94, 0x94, 0x94)], 1, [0xf0, 0x41], [], []],
    ['one more mask can', [byteId(0x41), M, ...bytes(0x9f, 0x9a, 0x80)], 1, [0xf0, 0xe2, 0x41], [], [0xf0]],
    ['no carriage return', [M], 0, [0x0a, 0x0d, 0x09], [], [0x0a, 0x09]],
    ['no controls', [M], 0, [0x00, 0x1b, 0x7f, 0x0c], [], [0x0c]],
    ['not what stands for broken bytes', bytes(0xef, 0xbf).concat(M), 2, [0xbd, 0xbc], [], [0xbc]],
  ])('should know that %s', (_, canvas, slot, of, written, expected) => {
    expect(permitted(canvas, slot, of, written)).toEqual(expected);
  });

  it('should take rare characters where the text around has such, and no carriage return even there', () => {
    const around = { prefix: '\ufeffa', suffix: '\u001b[0m\r\n' };
    expect(permitted([M], 0, [0x1b, 0x00, 0x0d], [], around)).toEqual([0x1b, 0x00]);
    expect(permitted([M], 0, [0x1b], [], { prefix: '\ufeffa', suffix: '' })).toEqual([]);
  });

  it('should let a text end between two characters, and ignore what follows the end', () => {
    const { eom } = special;
    const on = (canvas: number[], written: number[] = []) => textConstraint(tokenizer, NOWHERE).on(canvas, written);
    expect(on([M, M]).permits(0, eom)).toBe(true);
    expect(on([M, M], bytes(0xe2)).permits(0, eom)).toBe(false);
    expect(on([byteId(0xe2), M, M]).permits(2, eom)).toBe(false);
    expect(on([byteId(0xc3), M, M]).permits(2, eom)).toBe(true);
    expect(on([M, byteId(0x80)]).permits(0, eom)).toBe(true);
    for (const never of [special.mask, special.prefix, special.suffix, special.pad, 10_000])
      expect(on([M, M]).permits(0, never)).toBe(false);
  });

  it('should not count on banned tokens to complete a character', () => {
    const logitBias = new Map(Array.from({ length: 64 }, (_, at) => [byteId(0x80 + at), -100] as const));
    const on = textConstraint(tokenizer, { ...NOWHERE, logitBias }).on([M, M, M], []);
    expect([0x41, 0xc3, 0xe2].map((byte) => on.permits(0, byteId(byte)))).toEqual([true, false, false]);
    const all = new Map(Array.from({ length: 300 }, (_, id) => [id, -100] as const));
    expect(
      textConstraint(tokenizer, { ...NOWHERE, logitBias: all })
        .on([M], [])
        .permits(0, byteId(0x41)),
    ).toBe(true);
  });

  it('should say of every canvas what trying says', () => {
    const SOME = [0x41, 0xc3, 0xe2, 0xf0, 0x80, 0x9f].map(byteId);
    const fills = [...SOME.map((token) => [token]), ...bytes(0xa9, 0x94).map((token) => [token])];
    for (let seed = 0; seed < 60; seed++) {
      const canvas = Array.from({ length: 4 }, (_, slot) => {
        const draw = Math.floor(uniform(seed, 0, slot) * (SOME.length + 2));
        return SOME[draw] ?? M;
      });
      const on = textConstraint(tokenizer, NOWHERE).on(canvas, []);
      const { isFillable } = on;
      if (canBecomeText(canvas, fills)) expect(isFillable).toBe(true);
      for (const slot of canvas.keys()) {
        for (const token of SOME) {
          const tried = canBecomeText(canvas.with(slot, token), fills);
          if (tried) expect({ canvas, slot, token, permits: on.permits(slot, token) }).toMatchObject({ permits: true });
          if (!tried && !canvas.with(slot, token).includes(M)) expect(on.permits(slot, token)).toBe(false);
        }
      }
    }
  });
});

describe('a canvas under the constraint', () => {
  const VOCABULARY = 6 + 256 + Object.keys(mergedId).length;
  const settings = (changes: Partial<SamplerSettings> = {}): SamplerSettings => ({
    temperature: 0,
    topP: 1,
    seed: 0,
    revealThreshold: 0.05,
    editThreshold: 0.3,
    maxEditsPerSlot: 2,
    freezeAfter: 3,
    alternatives: 3,
    text: textConstraint(tokenizer, NOWHERE),
    ...changes,
  });

  /** Logits that like bytes of no text, another way at each step. */
  function wild(seed: number, step: number, rows: number) {
    return rowsOf(
      Array.from({ length: rows }, (_, row) =>
        Float32Array.from({ length: VOCABULARY }, (_, id) => {
          const liked = id >= byteId(0x80) && id < byteId(0x100) ? 3 : 0;
          const ends = id === special.eom ? 1 : 0;
          return liked + ends + 4 * uniform(seed, step * 64 + row, id);
        }),
      ),
    );
  }

  function fill(
    seed: number,
    changes: Partial<SamplerSettings>,
    maxSteps: number,
  ): { tokens: number[]; texts: string[] } {
    const written: number[] = [];
    const texts: string[] = [];
    for (let block = 0, step = 0; block < 3; block++) {
      const canvas = new Canvas(8, special);
      while (canvas.undecided(8).length > 0) {
        step++;
        const slots = canvas.unfrozen(3);
        denoisingStep(canvas, wild(seed, step, slots.length), settings(changes), special, {
          step,
          wanted: 8,
          final: step >= maxSteps,
          slots,
          written,
        });
        const decided = canvas.text(canvas.decidedRun());
        texts.push(tokenizer.decoder().push([...written, ...decided]));
      }
      written.push(...canvas.text(8));
      if (canvas.ended) break;
    }
    return { tokens: written, texts };
  }

  it.each([
    ['greedily', {}, 1000],
    ['by chance', { temperature: 1 }, 1000],
    ['by a budget of one step', {}, 1],
    ['by chance and a budget', { temperature: 1.3, topP: 0.9 }, 3],
    ['with edits', { editThreshold: 0.02, freezeAfter: 3 }, 1000],
  ])('should be text at every step, filled %s', (_, changes, maxSteps) => {
    for (let seed = 0; seed < 8; seed++) {
      const { tokens, texts } = fill(seed, { ...changes, seed }, maxSteps);
      for (const text of [...texts, tokenizer.decoder().push(tokens)]) expect(text).not.toMatch(/[\ufffd\r\0]/);
      expect(fill(seed, { ...changes, seed }, maxSteps).tokens).toEqual(tokens);
    }
  });

  it('should be text from left to right, too', () => {
    for (let seed = 0; seed < 8; seed++) {
      const canvas = new Canvas(16, special);
      for (let step = 0; canvas.undecided(16).length > 0; step++) {
        nextTokenStep(
          canvas,
          wild(seed, step, 1),
          settings({ temperature: seed % 2, seed }),
          special,
          step,
          bytes(0xe2),
        );
      }
      expect(tokenizer.decoder().push([byteId(0xe2), ...canvas.text(16)])).not.toMatch(/[\ufffd\r\0]/);
    }
  });

  it('should edit the bytes of a character together', () => {
    const canvas = new Canvas(3, special);
    const say = (slot: number, byte: number, p: number) =>
      canvas.reveal(slot, { token: byteId(byte), logProbability: Math.log(p) });
    say(0, 0xe2, 0.3);
    say(1, 0x80, 0.3);
    say(2, 0x94, 0.3);
    const surely = (byte: number) =>
      Float32Array.from({ length: VOCABULARY }, (_, id) => (id === byteId(byte) ? 20 : 0));
    denoisingStep(canvas, rowsOf([surely(0x61), surely(0x62), surely(0x63)]), settings(), special, {
      step: 1,
      wanted: 3,
      final: false,
    });
    expect(tokenizer.decode(canvas.tokens)).toBe('abc');
    denoisingStep(canvas, rowsOf([surely(0xe2), surely(0x62), surely(0x63)]), settings(), special, {
      step: 2,
      wanted: 3,
      final: false,
    });
    expect(tokenizer.decode(canvas.tokens)).toBe('abc');
  });
});
