/** Slots that are not computed again, canvases of the width that is needed, and steps that share a pass. */

import { afterEach, describe, expect, it, vi } from 'vitest';
import { createEngine } from '../../src/engine/create.ts';
import type { Engine, Frame, GenerateRequest } from '../../src/engine/types.ts';
import { kernelModule } from '../assembly/builds.ts';
import { SAMPLE_CONFIG } from '../denoiser/random-model.ts';
import { CANVAS_SLOTS, ONE_PAIR, request, run, SEVERAL_PAIRS, said, sampleParts } from './sample-engine.ts';

const kernels = { relaxed: kernelModule('relaxed'), simd: kernelModule('simd') };
const WIDTHS = [4, 8, CANVAS_SLOTS];
const NEVER = Number.POSITIVE_INFINITY;

/** Several widths, so that canvases are narrow, fill, and are followed by others. */
const config = { ...SAMPLE_CONFIG, diffusion: { ...SAMPLE_CONFIG.diffusion, canvas_widths: WIDTHS } };

const open = (cacheBytes = SEVERAL_PAIRS, requestsPerPass = 100) =>
  createEngine({ ...sampleParts(kernels), config, limits: { cacheBytes, requestsPerPass } });

const REQUESTS: Partial<GenerateRequest>[] = [
  {},
  { suffix: '' },
  { prefix: '', suffix: 'x', freezeAfter: 2 },
  { prefix: 'class A:\n'.repeat(30), suffix: 'end\n'.repeat(40) },
  { prefix: 'class A:\n'.repeat(30), suffix: '', temperature: 0.8, topP: 0.9, seed: 7 },
  { prefix: 'def f(x):\n    return x', maxSteps: 3, canvasWidth: 8 },
  { prefix: 'def f(x):\n    return y', presencePenalty: 1 },
  { prefix: 'x', freezeAfter: NEVER },
  { maxTokens: 0 },
  { prefix: 'def g(y):\n', suffix: '', decoding: 'autoregressive' },
];

/** The result of each request when it runs alone. */
const single = await open(ONE_PAIR, 1);
const alone: Awaited<ReturnType<typeof outcomeOf>>[] = [];
for (const changes of REQUESTS) alone.push(await outcomeOf(single, changes));

afterEach(() => {
  vi.restoreAllMocks();
});

describe('freezing', () => {
  it('should compute fewer slots the earlier it freezes, and all of them when it never does', async () => {
    const engine = await open();
    const evaluations = async (freezeAfter: number) => {
      const { usage } = (await run(engine, { freezeAfter, canvasWidth: CANVAS_SLOTS })).completion;
      return usage.slotEvaluations / usage.steps;
    };
    const [never, two, one] = [await evaluations(NEVER), await evaluations(2), await evaluations(1)];
    expect(never).toBe(CANVAS_SLOTS);
    expect(two).toBeLessThan(never);
    expect(one).toBeLessThan(two);
  });

  it('should settle what is frozen although the canvas is not complete', async () => {
    const engine = await open();
    const settledEarly = async (freezeAfter: number) => {
      const changes = { freezeAfter, canvasWidth: CANVAS_SLOTS, maxTokens: CANVAS_SLOTS };
      return new Set((await run(engine, changes)).frames.map(({ settled }) => settled)).size;
    };
    expect(await settledEarly(1)).toBeGreaterThan(await settledEarly(NEVER));
  });

  it('should say the same when the keys of its frozen slots were lost on the way', async () => {
    const engine = await open(ONE_PAIR);
    const changes = { canvasWidth: CANVAS_SLOTS, temperature: 0.7, seed: 5 };
    const undisturbed = (await run(engine, changes)).completion;
    const now = vi.spyOn(Date, 'now').mockReturnValue(0);

    const generation = engine.generate(request(changes), new AbortController().signal);
    const frames: Frame[] = [];
    for (let step = 0; step < 6; step++) frames.push((await generation.next()).value as Frame);
    // Long enough to be taken for dead: another request takes over its contexts.
    now.mockReturnValue(60_000);
    await run(engine, { prefix: 'something else', suffix: '' });
    for (;;) {
      const { done, value } = await generation.next();
      if (!done) {
        frames.push(value);
        continue;
      }
      expect(said(value)).toEqual(said(undisturbed));
      expect(value.usage.slotEvaluations).toBeGreaterThan(undisturbed.usage.slotEvaluations);
      break;
    }
    frames.slice(1).forEach(({ settled }, index) => {
      expect(settled.startsWith(frames[index]!.settled)).toBe(true);
    });
  });
});

describe('widths', () => {
  it('should compute what is needed: a narrow canvas, then more of them', async () => {
    const engine = await open();
    const perStep = async (changes: Partial<GenerateRequest>) => {
      const { usage } = (await run(engine, { freezeAfter: NEVER, maxTokens: 24, ...changes })).completion;
      return usage.slotEvaluations / usage.steps;
    };
    expect(await perStep({})).toBe(4);
    expect(await perStep({ canvasWidth: 8 })).toBe(8);
    expect(await perStep({ canvasWidth: CANVAS_SLOTS })).toBe(CANVAS_SLOTS);
  });

  it('should read a committed canvas with the first step of the next one, and nothing twice', async () => {
    const engine = await open(ONE_PAIR);
    const prefix = 'def f(x):\n    return ';
    const { frames, completion } = await run(engine, { prefix, maxTokens: 24, suffix: '' });
    expect(completion.usage.steps).toBe(frames.length);
    // What the first canvases said is in the cache for the next request, but for the last one.
    const typed = completion.tokens!.slice(0, 16).map(({ text }) => text);
    expect(typed.join('')).not.toBe('');
    const { usage } = (await run(engine, { prefix: prefix + typed.join(''), suffix: '', maxTokens: 0 })).completion;
    expect(usage.cachedTokens).toBeGreaterThan(prefix.length);
  });
});

/** A completion with all that must not depend on who shares its passes. */
async function outcomeOf(engine: Engine, changes: Partial<GenerateRequest>) {
  const { frames, completion } = await run(engine, changes);
  return { texts: frames.map(({ text }) => text), steps: completion.usage.steps, ...said(completion) };
}

describe('shared passes', () => {
  it.each([
    ['one pair of contexts, shared passes', ONE_PAIR, 100],
    ['several pairs, a pass for each', SEVERAL_PAIRS, 1],
    ['several pairs, two in a pass', SEVERAL_PAIRS, 2],
    ['several pairs, all in a pass', SEVERAL_PAIRS, 100],
  ])('should say what each says alone, whoever is beside it: %s', async (_, cacheBytes, requestsPerPass) => {
    const engine = await open(cacheBytes, requestsPerPass);
    const together = await Promise.all(REQUESTS.map((changes) => outcomeOf(engine, changes)));
    expect(together).toEqual(alone);
  });

  it('should go on with the others when one is aborted or given up', async () => {
    const engine = await open();
    const expected = said((await run(engine)).completion);
    const controller = new AbortController();
    const reason = new Error('gone');
    const aborted = run(engine, { prefix: 'aborted' }, controller.signal);
    const others = [run(engine), run(engine)];
    const givenUp = engine.generate(request({ prefix: 'given up' }), new AbortController().signal);
    await givenUp.next();
    controller.abort(reason);
    await expect(aborted).rejects.toBe(reason);
    for (const { completion } of await Promise.all(others)) expect(said(completion)).toEqual(expected);
    await givenUp.return(undefined as never);
  });
});
