import { describe, expect, it, vi } from 'vitest';
import { ConfigError } from '../../src/denoiser/transformer/shape.ts';
import { createEngine } from '../../src/engine/create.ts';
import { EngineBusy } from '../../src/engine/errors.ts';
import type { Completion, GenerateRequest } from '../../src/engine/types.ts';
import { loadTokenizer } from '../../src/tokenizer/tokenizer.ts';
import { kernelModule } from '../assembly/builds.ts';
import { randomModel, SAMPLE_CONFIG } from '../denoiser/random-model.ts';
import { streamOf } from '../denoiser/safetensors-file.ts';
import { byteId, mergedId, sampleTokenizer, specialTokens } from '../tokenizer/sample-tokenizer.ts';
import { CANVAS_SLOTS, ONE_PAIR, request, run, SEVERAL_PAIRS, said, sampleEngine } from './sample-engine.ts';

const kernels = { relaxed: kernelModule('relaxed'), simd: kernelModule('simd') };
const engine = await sampleEngine(kernels);

/** Requests that differ in every way that matters to contexts and canvases. */
const REQUESTS: Partial<GenerateRequest>[] = [
  {},
  { suffix: '' },
  { prefix: '', suffix: 'x' },
  { prefix: 'class A:\n'.repeat(30), suffix: 'end\n'.repeat(40) },
  { prefix: 'class A:\n'.repeat(30), suffix: '', temperature: 0.8, topP: 0.9, seed: 7 },
  { prefix: 'def f(x):\n    return x', maxSteps: 3 },
];

/** What each says when an engine of its own answers it. */
const alone = await Promise.all(
  REQUESTS.map(async (changes) => said((await run(await sampleEngine(kernels, ONE_PAIR), changes)).completion)),
);

describe('completion', () => {
  it('should describe its model', () => {
    expect(engine.model).toEqual({
      id: 'sample',
      created: 1_790_000_000,
      contextLength: 252,
      maxOutputTokens: 84,
      window: { prefixTokens: expect.any(Number), suffixTokens: expect.any(Number) },
      diffusion: { canvasWidths: [CANVAS_SLOTS], revealThreshold: 0.9, editThreshold: 0.9 },
    });
  });

  it.each(REQUESTS)('should be the same at each call: %j', async (changes) => {
    const { completion } = await run(engine, changes);
    expect(completion.text).not.toBe('');
    expect(said((await run(engine, changes)).completion)).toEqual(said(completion));
  });

  it.each([1, CANVAS_SLOTS - 1, CANVAS_SLOTS, CANVAS_SLOTS + 1, 40])(
    'should emit at most %i tokens',
    async (maxTokens) => {
      const { completion } = await run(engine, { maxTokens });
      expect(completion.finishReason).toBe('length');
      // A few bytes at the end can be an unfinished character, which is not emitted.
      expect(completion.usage.completionTokens).toBeGreaterThan(maxTokens - 4);
      expect(completion.usage.completionTokens).toBeLessThanOrEqual(maxTokens);
    },
  );

  it('should not exceed the room after a full prefix', async () => {
    const { completion } = await run(engine, { prefix: 'a1 '.repeat(200), maxTokens: 1000 });
    expect(completion.usage.completionTokens).toBeLessThanOrEqual(engine.model.maxOutputTokens);
    expect(completion.usage.completionTokens).toBeGreaterThan(engine.model.maxOutputTokens - 4);
  });

  it('should stop at an end token', async () => {
    const model = randomModel(1);
    model.embedding.scales[specialTokens.eom]! *= 2.5;
    const { completion } = await run(await sampleEngine(kernels, ONE_PAIR, model));
    expect(completion.finishReason).toBe('stop');
    expect(completion.usage.completionTokens).toBeLessThan(40);
  });

  it('should depend on the seed above temperature 0', async () => {
    const text = async (seed: number) => (await run(engine, { temperature: 1.5, seed })).completion.text;
    expect(await text(1)).toBe(await text(1));
    expect(await text(1)).not.toBe(await text(2));
  });

  it.each([1, 2, 5, 13])('should keep a budget of %i steps', async (maxSteps) => {
    const { frames, completion } = await run(engine, { maxSteps });
    expect(completion.usage.steps).toBe(maxSteps);
    expect(frames).toHaveLength(maxSteps);
    expect(completion.text).not.toBe('');
  });

  it('should end with what the canvas says once its deadline has passed', async () => {
    const clock = vi.spyOn(performance, 'now');
    let nowMs = 0;
    clock.mockImplementation(() => nowMs++);
    const { completion } = await run(engine, { deadlineMs: 20 });
    clock.mockRestore();
    const { completion: whole } = await run(engine);
    expect(completion.usage.steps).toBeLessThan(whole.usage.steps);
    expect(completion.text).not.toBe('');
    expect(completion.finishReason).toBe('length');
  });

  it('should count the time in the line for its deadline, and not for that of its denoising', async () => {
    const single = await sampleEngine(kernels, ONE_PAIR);
    const clock = vi.spyOn(performance, 'now');
    let nowMs = 0;
    clock.mockImplementation(() => nowMs);
    const ask = (changes: Partial<GenerateRequest>) => {
      const waiting = run(single, changes);
      nowMs += 1000;
      return waiting;
    };
    const late = await ask({ deadlineMs: 500 });
    const unhurried = await ask({ maxDenoisingMs: 500 });
    clock.mockRestore();
    expect(late.completion.usage.steps).toBe(1);
    expect(unhurried.completion.usage.steps).toBe((await run(single)).completion.usage.steps);
  });

  it('should take one step within a deadline that has passed already', async () => {
    const { completion } = await run(engine, { deadlineMs: 0 });
    expect(completion.usage.steps).toBe(1);
    expect(completion.usage.completionTokens).toBeGreaterThan(0);
  });

  it('should not feel a deadline that is far away', async () => {
    const { completion } = await run(engine, { deadlineMs: 600_000 });
    expect(said(completion)).toEqual(said((await run(engine)).completion));
  });

  it.each([{}, { stop: ['zz', 'Q', ' '] }, { temperature: 1, seed: 3 }])(
    'should report its tokens, which together are the text: %j',
    async (changes) => {
      const { completion } = await run(engine, changes);
      const tokens = completion.tokens!;
      expect(tokens.map(({ text }) => text).join('')).toBe(completion.text);
      expect(tokens).toHaveLength(completion.usage.completionTokens);
      const sum = tokens.reduce((total, { logProbability }) => total + logProbability, 0);
      expect(sum / tokens.length).toBeCloseTo(completion.confidence, 10);
      for (const { logProbability } of tokens) expect(logProbability).toBeLessThanOrEqual(0);
    },
  );

  it('should repeat less under a penalty, and give the same bytes without one', async () => {
    const distinct = ({ tokens }: Completion) => new Set(tokens!.map(({ text }) => text)).size;
    const plain = (await run(engine)).completion;
    const penalized = (await run(engine, { presencePenalty: 2, frequencyPenalty: 2 })).completion;
    expect(distinct(penalized)).toBeGreaterThan(distinct(plain));
    expect(said((await run(engine, { presencePenalty: 0, frequencyPenalty: 0 })).completion)).toEqual(said(plain));
  });

  it('should never say a token that is banned', async () => {
    const { text } = (await run(engine)).completion;
    const banned = new Map([...new Set(new TextEncoder().encode(text))].map((byte) => [byteId(byte), -100]));
    for (const id of Object.values(mergedId)) banned.set(id, -100);
    const other = (await run(engine, { logitBias: banned })).completion;
    expect(other.text).not.toBe('');
    expect([...new TextEncoder().encode(other.text)].filter((byte) => banned.has(byteId(byte)))).toEqual([]);
  });

  it.each([0, 0.8])('should say nothing but what is biased by 100, at temperature %d', async (temperature) => {
    const logitBias = new Map([[byteId(0x7e), 100]]);
    const { text, confidence } = (await run(engine, { logitBias, temperature, maxTokens: 9 })).completion;
    expect(text).toBe('~'.repeat(9));
    expect(confidence).toBeCloseTo(0, 5);
  });

  it('should end at once when only its end is left, and not at all when that is banned', async () => {
    const { eom, endOfText } = specialTokens;
    const ended = (await run(engine, { logitBias: new Map([[eom, 100]]) })).completion;
    expect(ended).toMatchObject({ text: '', finishReason: 'stop' });
    const model = randomModel(1);
    model.embedding.scales[eom]! *= 2.5;
    const eager = await sampleEngine(kernels, ONE_PAIR, model);
    expect((await run(eager)).completion.finishReason).toBe('stop');
    const bans = new Map([
      [eom, -100],
      [endOfText, -100],
    ]);
    expect((await run(eager, { logitBias: bans })).completion.finishReason).toBe('length');
  });

  it.each([{}, { temperature: 1.2, seed: 5 }, { presencePenalty: 1 }])(
    'should report the most probable tokens of each place, with the one that it took: %j',
    async (changes) => {
      const plain = (await run(engine, changes)).completion;
      const { tokens, ...completion } = (await run(engine, { ...changes, alternatives: 4 })).completion;
      expect(said(completion)).toEqual(said(plain));
      for (const { text, logProbability, alternatives } of tokens!) {
        const ordered = alternatives!.slice(0, 4).map((other) => other.logProbability);
        expect(ordered).toEqual(ordered.toSorted((a, b) => b - a));
        expect(alternatives!.length).toBeOneOf([4, 5]);
        // Behind bytes of no character the text begins with U+FFFD.
        const taken = alternatives!.find(
          ({ name, logProbability: other }) =>
            other === logProbability && (text.endsWith(name) || name.startsWith('bytes:')),
        );
        expect(taken).toBeDefined();
        expect(alternatives!.reduce((sum, other) => sum + Math.exp(other.logProbability), 0)).toBeLessThan(1.0001);
      }
    },
  );

  it('should read token ids as it reads their text', async () => {
    const { prefix } = request();
    const prefixTokens = loadTokenizer(sampleTokenizer()).encode(prefix);
    expect(said((await run(engine, { prefixTokens })).completion)).toEqual(said((await run(engine)).completion));
    // The same text in other tokens is another context.
    const bytes = Array.from(new TextEncoder().encode(prefix), byteId);
    const { usage } = (await run(engine, { prefixTokens: bytes })).completion;
    expect(usage.promptTokens - (await run(engine)).completion.usage.promptTokens).toBe(
      bytes.length - prefixTokens.length,
    );
  });

  it('should know which ids are text', () => {
    const { vocabulary } = engine;
    expect(vocabulary.decode([mergedId.return!, byteId(0x20)])).toBe('return ');
    expect([vocabulary.isText(byteId(0)), vocabulary.isText(specialTokens.eom)]).toEqual([true, false]);
    expect([vocabulary.isEnd(specialTokens.eom), vocabulary.isEnd(specialTokens.pad)]).toEqual([true, false]);
  });

  it('should report its cost', async () => {
    const { frames, completion } = await run(engine, {
      prefix: 'x = 1',
      suffix: 'y',
      freezeAfter: Number.POSITIVE_INFINITY,
    });
    const { usage } = completion;
    // <|prefix|> <|endoftext|> x ␣ = ␣ 1 and <|suffix|> y
    expect(usage.promptTokens).toBe(9);
    expect(usage.truncatedTokens).toBe(0);
    expect(usage.steps).toBe(frames.length);
    expect(usage.slotEvaluations).toBe(usage.steps * CANVAS_SLOTS);
    expect(usage.cpuMs).toBeGreaterThan(0);
    expect(usage.prefillMs).toBeGreaterThan(0);
    expect(usage.prefillMs).toBeLessThan(usage.cpuMs);
    expect(usage.queueMs).toBeGreaterThanOrEqual(0);
    expect(completion.confidence).toBeLessThan(0);
  });
});

describe('frames', () => {
  it.each([{}, { editThreshold: 1 }, { stop: ['Q', 'zz'] }, { editThreshold: 1, stop: ['Q', 'zz'] }])(
    'should settle text that only grows and never changes: %j',
    async (changes) => {
      const { frames, completion } = await run(engine, changes);
      let settled = '';
      for (const frame of frames) {
        expect(frame.settled.startsWith(settled)).toBe(true);
        expect(frame.text.startsWith(frame.settled)).toBe(true);
        expect(completion.text.startsWith(frame.settled)).toBe(true);
        expect(frame.settled).not.toMatch(
          /z$/.exec(changes.stop?.[1] ?? '') ? /z$/ : /^$/.source === '' ? /(?!)/ : /(?!)/,
        );
        settled = frame.settled;
      }
      expect(settled).not.toBe('');
    },
  );

  it('should settle within a block when editing is off', async () => {
    const { frames } = await run(engine, { maxTokens: CANVAS_SLOTS, editThreshold: 1 });
    expect(new Set(frames.map(({ settled }) => settled)).size).toBeGreaterThan(2);
  });

  it('should show the whole canvas and leave masks out', async () => {
    const { frames, completion } = await run(engine, { maxTokens: CANVAS_SLOTS });
    expect(frames[0]!.text.length).toBeLessThan(completion.text.length);
    expect(frames.at(-1)!.text).toBe(completion.text);
  });
});

describe('stop strings', () => {
  it('should end before the first one, wherever it lies', async () => {
    const { completion: whole } = await run(engine);
    for (let at = 1; at + 3 <= whole.text.length; at += 3) {
      const stop = whole.text.slice(at, at + 3);
      const { frames, completion } = await run(engine, { stop: ['never', stop] });
      expect(completion.text).toBe(whole.text.slice(0, whole.text.indexOf(stop)));
      expect(completion.finishReason).toBe('stop');
      expect(completion.usage.steps).toBeLessThanOrEqual(whole.usage.steps);
      for (const { settled } of frames) expect(completion.text.startsWith(settled)).toBe(true);
    }
  });

  it('should ignore an empty one', async () => {
    expect(said((await run(engine, { stop: [''] })).completion)).toEqual(said((await run(engine)).completion));
  });
});

describe('prefix cache', () => {
  it('should give the same bytes with and without it', async () => {
    for (const cacheBytes of [ONE_PAIR, SEVERAL_PAIRS]) {
      const cached = await sampleEngine(kernels, cacheBytes);
      for (const index of [0, 1, 2, 3, 4, 5, 4, 3, 2, 1, 0]) {
        expect(said((await run(cached, REQUESTS[index])).completion)).toEqual(alone[index]);
      }
    }
  });

  it('should not compute the same prompt again', async () => {
    const fresh = await sampleEngine(kernels);
    const first = (await run(fresh)).completion.usage;
    expect(first.cachedTokens).toBe(0);
    const second = (await run(fresh)).completion.usage;
    expect(second.cachedTokens).toBe(second.promptTokens);
  });

  it('should be warmed by a request for no tokens', async () => {
    const fresh = await sampleEngine(kernels);
    const { frames, completion } = await run(fresh, { maxTokens: 0 });
    expect(frames).toEqual([]);
    expect(completion).toMatchObject({ text: '', finishReason: 'length', usage: { completionTokens: 0, steps: 0 } });
    const { usage } = (await run(fresh)).completion;
    expect(usage.cachedTokens).toBe(usage.promptTokens);
  });

  it('should compute only what was typed', async () => {
    const fresh = await sampleEngine(kernels);
    const { prefix } = request();
    await run(fresh, { prefix });
    const { usage } = (await run(fresh, { prefix: `${prefix}(1` })).completion;
    expect(usage.promptTokens - usage.cachedTokens).toBe(2);
  });

  it('should keep contexts of different texts side by side', async () => {
    const fresh = await sampleEngine(kernels);
    const texts = ['first = 1\n'.repeat(8), 'second(2)\n'.repeat(8), 'third: 3\n'.repeat(8)];
    for (const prefix of texts) await run(fresh, { prefix });
    for (const prefix of texts) {
      const { usage } = (await run(fresh, { prefix })).completion;
      expect(usage.cachedTokens).toBe(usage.promptTokens);
    }
  });
});

describe('concurrency', () => {
  it.each([ONE_PAIR, SEVERAL_PAIRS])(
    'should not mix up requests that run at once (%i bytes of cache)',
    async (cacheBytes) => {
      const shared = await sampleEngine(kernels, cacheBytes);
      const together = await Promise.all(REQUESTS.map((changes) => run(shared, changes)));
      expect(together.map(({ completion }) => said(completion))).toEqual(alone);
    },
  );

  it('should let the event loop run between steps', async () => {
    let turns = 0;
    const timer = setInterval(() => turns++, 0);
    const { frames } = await run(engine, { temperature: 1 });
    clearInterval(timer);
    expect(frames.length).toBeGreaterThan(5);
    expect(turns).toBeGreaterThan(0);
  });

  it('should throw the reason of an abort, before and between steps', async () => {
    const reason = new Error('client has gone');
    await expect(run(engine, {}, AbortSignal.abort(reason))).rejects.toBe(reason);
    const controller = new AbortController();
    const generation = engine.generate(request(), controller.signal);
    await generation.next();
    controller.abort(reason);
    await expect(generation.next()).rejects.toBe(reason);
  });

  it('should free its place when it is aborted, even if its next step is never requested', async () => {
    const single = await sampleEngine(kernels, ONE_PAIR, randomModel(1), { maxConcurrent: 1, maxWaiting: 0 });
    const controller = new AbortController();
    await single.generate(request(), controller.signal).next();
    await expect(run(single)).rejects.toThrow(EngineBusy);
    controller.abort();
    expect((await run(single)).completion.text).not.toBe('');
  });

  it('should serve the next request after aborts and early ends', async () => {
    const single = await sampleEngine(kernels, ONE_PAIR);
    const expected = said((await run(single)).completion);
    const controller = new AbortController();
    const waiting = run(single, {}, controller.signal);
    controller.abort();
    await expect(waiting).rejects.toThrow();
    const early = single.generate(request({ prefix: 'other' }), new AbortController().signal);
    await early.next();
    await early.return(undefined as never);
    expect(said((await run(single)).completion)).toEqual(expected);
  });
});

describe('a full line', () => {
  it('should refuse one request more than may wait, and answer the others', async () => {
    const full = await sampleEngine(kernels, ONE_PAIR, randomModel(1), { maxConcurrent: 1, maxWaiting: 2 });
    const answered = [1, 2, 3].map(() => run(full));
    await expect(run(full)).rejects.toThrow(EngineBusy);
    expect(full.waiting).toBe(2);
    await Promise.all(answered);
    expect(full.waiting).toBe(0);
    expect((await run(full)).completion.text).not.toBe('');
  });
});

describe('createEngine', () => {
  it('should refuse a tokenizer of more tokens than the model knows', async () => {
    const tokenizer = sampleTokenizer();
    tokenizer.model.vocab.xyz = 272;
    let opened = 0;
    const loading = createEngine({
      model: { id: 'sample', created: 0 },
      kernels,
      config: SAMPLE_CONFIG,
      tokenizer,
      openWeights: async () => {
        opened++;
        return streamOf(new Uint8Array());
      },
    });
    await expect(loading).rejects.toThrow(ConfigError);
    await expect(loading).rejects.toThrow('vocab_size is 272');
    expect(opened).toBe(0);
  });
});
