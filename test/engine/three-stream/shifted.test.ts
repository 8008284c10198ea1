/** Requests to a shifted model get the text after the cursor, for any token at the cursor. */

import { beforeAll, describe, expect, it } from 'vitest';
import type { Engine, GenerateRequest } from '../../../src/engine/types.ts';
import { loadTokenizer } from '../../../src/tokenizer/tokenizer.ts';
import { readJson } from '../../denoiser/golden-files.ts';
import { run, said } from '../sample-engine.ts';
import { openShifted, SHIFTED_MODEL } from './shifted-model.ts';

const tokenizer = loadTokenizer(readJson(new URL('tokenizer.json', SHIFTED_MODEL)));
const PREFIX = 'function add(a, b) {\n  ret';
const SUFFIX = '\n}\n';

/** Without n-grams of the text in the predictions. */
const ALONE = { context_ngrams: undefined };
/** With almost nothing else. */
const COPYING = { context_ngrams: { bias: 12, length: 0, share: 0, count: 0 } };

describe('a shifted model', () => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await openShifted();
  });
  const complete = (changes: Partial<GenerateRequest> = {}) =>
    run(engine, { prefix: PREFIX, suffix: SUFFIX, maxTokens: 8, ...changes });

  const ways: [string, Partial<GenerateRequest>][] = [
    ['canvases of the default width', {}],
    ['canvases of one slot', { canvasWidth: 1 }],
    ['a wide canvas', { canvasWidth: 8 }],
    ['a temperature', { temperature: 1, seed: 7, canvasWidth: 8 }],
    ['from left to right', { decoding: 'autoregressive', suffix: '' }],
  ];

  it.each(ways)('should stream settled text that only grows, the end of it the completion (%s)', async (_, changes) => {
    const { frames, completion } = await complete(changes);
    let settled = '';
    for (const frame of frames) {
      expect(frame.settled.startsWith(settled)).toBe(true);
      expect(frame.text.startsWith(frame.settled)).toBe(true);
      settled = frame.settled;
    }
    expect(completion.text.startsWith(settled)).toBe(true);
    expect(completion.tokens!.map(({ text }) => text).join('')).toBe(completion.text);
    expect(completion.usage.completionTokens).toBe(completion.tokens!.length);
  });

  it.each(ways)(
    'should emit as many tokens as asked for, those of what is before the cursor not counted (%s)',
    async (...[, changes]) => {
      for (const maxTokens of [1, 2, 3]) {
        const { completion } = await complete({ ...changes, maxTokens, prefix: 'const fs = require', suffix: '' });
        if (completion.finishReason === 'length') expect(completion.usage.completionTokens).toBe(maxTokens);
      }
    },
  );

  it('should say the same whether contexts were kept or not, and read the suffix once while a user types', async () => {
    let typed = PREFIX;
    for (const key of 'urn a') {
      typed += key;
      const warm = (await complete({ prefix: typed })).completion;
      const cold = (await run(await openShifted(), { prefix: typed, suffix: SUFFIX, maxTokens: 8 })).completion;
      expect(said(warm)).toEqual(said(cold));
      expect(warm.usage.cachedTokens).toBeGreaterThanOrEqual(1 + tokenizer.encode(SUFFIX).length);
    }
  });

  it('should report alternatives by what they say after the cursor', async () => {
    const { tokens = [] } = (await complete({ alternatives: 5, canvasWidth: 1 })).completion;
    const [first] = tokens;
    expect(first!.alternatives!.map(({ name }) => name)).toContain(first!.text);
    // Each is the rest of a token that the cursor splits.
    const names = [...Array(tokenizer.vocabSize).keys()].map((id) => tokenizer.nameOf(id));
    for (const { name, logProbability } of first!.alternatives!) {
      expect(logProbability).toBeLessThanOrEqual(0);
      const goesOn = (whole: string) => whole.endsWith(name) && ' ret'.endsWith(whole.slice(0, -name.length));
      expect(names.some(goesOn), name).toBe(true);
    }
  });

  it('should show a canvas without what is before the cursor', async () => {
    const { frames, completion } = await complete({ showCanvas: true, canvasWidth: 8 });
    const last = frames.filter(({ canvas }) => canvas?.block === 0).at(-1)!;
    const shown = last.canvas!.slots.map(({ text }) => text).join('');
    expect(completion.text.startsWith(shown) || shown.startsWith(completion.text)).toBe(true);
  });

  it('should end within a budget of steps with its text so far, never with text before the cursor', async () => {
    for (const maxSteps of [1, 2, 3]) {
      const { completion } = await complete({ maxSteps, canvasWidth: 4 });
      expect(completion.usage.steps).toBeLessThanOrEqual(maxSteps);
      expect(completion.text.startsWith(' ret')).toBe(false);
    }
  });

  it('should read a prompt that is token ids as it is', async () => {
    const ids = tokenizer.encode(PREFIX);
    const { completion } = await complete({ prefixTokens: ids, suffix: '' });
    expect(completion.usage.promptTokens).toBe(2 + ids.length);
    expect(completion.text).not.toBe('');
  });

  it('should go on after characters that no completion has', async () => {
    for (const prefix of ['a\r', 'a\r\n  ', 'x\u0007', 'né', '日', '👩‍', '\ufeff']) {
      for (const [, changes] of ways) {
        const { completion } = await complete({ ...changes, prefix });
        expect(completion.text).not.toContain('\ufffd');
      }
    }
  });

  it('should read a prompt longer than its window', async () => {
    const { completion } = await complete({ prefix: 'const a = 1;\n'.repeat(60), suffix: 'b();\n'.repeat(60) });
    expect(completion.usage.truncatedTokens).toBeGreaterThan(0);
  });

  it('should end before the text after the cursor if it is configured so', async () => {
    const [engine, ending] = [await openShifted(ALONE), await openShifted({ ...ALONE, ends_before_suffix: true })];
    const request = { prefix: PREFIX, maxTokens: 8, canvasWidth: 1 };
    const { text } = (await run(engine, { ...request, suffix: ';' })).completion;
    let shorter = 0;
    for (const suffix of Array.from(text, (_, at) => text.slice(at))) {
      const all = (await run(engine, { ...request, suffix })).completion.text;
      const { completion } = await run(ending, { ...request, suffix });
      if (completion.text === all) continue;
      shorter++;
      expect(completion.ending).toEqual({ by: 'end' });
      // What it would have written next begins the suffix.
      const next = all.slice(completion.text.length);
      expect(all.startsWith(completion.text)).toBe(true);
      expect(suffix[0]).toBe(next[0]);
    }
    expect(shorter).toBeGreaterThan(0);
  });

  describe('that copies', () => {
    const phrase = 'if (error) {\n    return callback(error);\n  }\n';
    let copying: Engine;
    beforeAll(async () => {
      copying = await openShifted(COPYING);
    });

    it.each([
      ['canvases of one slot', { canvasWidth: 1 }],
      ['a wide canvas', { canvasWidth: 8 }],
      ['from left to right', { decoding: 'autoregressive' }],
      ['a temperature', { temperature: 1, seed: 3, canvasWidth: 1 }],
    ] as const)('should go on as the text did before (%s)', async (_, changes) => {
      const request = { prefix: `${phrase}x = 1;\n${phrase.slice(0, 11)}`, suffix: '', maxTokens: 8, ...changes };
      const { completion } = await run(copying, request);
      expect(completion.text).not.toBe('');
      expect(phrase.slice(11).startsWith(completion.text)).toBe(true);
      expect(completion.confidence).toBeGreaterThan(Math.log(0.99));
    });

    it('should find what the model does not read any more, and what follows the cursor', async () => {
      const far = `${phrase}${'b();\n'.repeat(60)}`;
      const cases = [
        { prefix: `${far}${phrase.slice(0, 11)}`, suffix: '' },
        { prefix: `y\n${phrase.slice(0, 11)}`, suffix: `\n${far}` },
        { prefix: phrase.slice(0, 11), suffix: '', uncutPrefix: `${far}${phrase.slice(0, 11)}` },
      ];
      for (const request of cases) {
        const { completion } = await run(copying, { ...request, maxTokens: 6, canvasWidth: 1 });
        expect(completion.text).not.toBe('');
        expect(phrase.slice(11).startsWith(completion.text)).toBe(true);
      }
    });

    it('should predict alone where nothing in the text is like its end', async () => {
      const request = { prefix: 'zq', suffix: '', maxTokens: 1, canvasWidth: 1 };
      const alone = (await run(await openShifted(ALONE), request)).completion;
      expect((await run(copying, request)).completion.text).toBe(alone.text);
    });
  });

  it('should end where it becomes the rest of the word at the cursor, and stream nothing behind that', async () => {
    const phrase = 'if (callbackError) {\n  return;\n}\n';
    const joining = await openShifted({ ...COPYING, ends_before_suffix: true });
    const request = { prefix: `${phrase}if (call`, suffix: 'rror) {\n', maxTokens: 8, canvasWidth: 1 };
    const { frames, completion } = await run(joining, request);
    expect(completion.text).toBe('backE');
    expect(completion).toMatchObject({ ending: { by: 'end' }, finishReason: 'stop', endLogProbability: 0 });
    for (const { settled } of frames) expect('backE'.startsWith(settled)).toBe(true);
    expect((await run(await openShifted(COPYING), request)).completion.text).not.toBe('backE');
  });

  it('should tell how probable the token was that ended it', async () => {
    const request = { prefix: 'a = 1;\nb = 2;\na = ', suffix: '', maxTokens: 8, canvasWidth: 1 };
    const stopped = (await run(await openShifted(COPYING), { ...request, stop: [';'] })).completion;
    expect(stopped.text).toBe('1');
    expect(stopped.endLogProbability).toBeGreaterThan(Math.log(0.9));
    expect(stopped.endLogProbability).toBeLessThan(0);
    const open = (await run(await openShifted(COPYING), { ...request, maxTokens: 1 })).completion;
    expect(open.endLogProbability).toBeUndefined();
  });

  it('should leave a closing bracket to the rules of the editor', async () => {
    const ending = await openShifted({ ends_before_suffix: true });
    const ends = () => undefined;
    for (const suffix of [')', ']);', '}\n', "'", '`']) {
      const request = { prefix: PREFIX, suffix, maxTokens: 8, ends };
      expect((await run(ending, request)).completion.text).toBe((await run(engine, request)).completion.text);
    }
  });

  it('should read the prompt where nothing is to be emitted', async () => {
    const { completion } = await complete({ maxTokens: 0 });
    expect(completion).toMatchObject({ text: '', usage: { completionTokens: 0 } });
  });
});
