/**
 * What the engine guarantees for every model, with any stream layout: aborts, the queue, deadlines, budgets, settings
 * and usage.
 */

import { afterEach, describe, expect, it, vi } from 'vitest';
import { createEngine } from '../../src/engine/create.ts';
import { EngineBusy } from '../../src/engine/errors.ts';
import { pause } from '../../src/engine/pause.ts';
import type { Engine, EngineLimits, EngineParts, GenerateRequest } from '../../src/engine/types.ts';
import { kernelModule } from '../assembly/builds.ts';
import { readJson } from '../denoiser/golden-files.ts';
import { SAMPLE_CONFIG } from '../denoiser/random-model.ts';
import { type Attention, checkpoints, configOf, weightsOf } from '../denoiser/single-stream/checkpoints.ts';
import { ONE_PAIR, request, run, said, sampleParts } from './sample-engine.ts';

const kernels = { relaxed: kernelModule('relaxed'), simd: kernelModule('simd') };

/** Settings besides the prefix, which every request has. */
type Setting = Exclude<keyof GenerateRequest, 'prefix' | 'uncutPrefix'>;

interface Contract {
  parts: EngineParts;
  /** A request that the model answers in several steps, with several canvases. */
  base: Partial<GenerateRequest>;
  /** A prefix that is read in more than one turn, where that can be. */
  longPrefix: string;
  /** Settings that the model does not do: what a request for one looks like, and the field that the refusal names. */
  refused: Partial<Record<Setting, [changes: Partial<GenerateRequest>, param: string]>>;
}

const threeStream: Contract = {
  parts: {
    ...sampleParts(kernels),
    config: { ...SAMPLE_CONFIG, diffusion: { ...SAMPLE_CONFIG.diffusion, canvas_widths: [4, 8, 12] } },
  },
  base: { maxTokens: 14 },
  longPrefix: 'class A:\n'.repeat(30),
  refused: {},
};

function singleStream(attention: Attention): Contract {
  const family = 'qwen3';
  return {
    parts: {
      model: { id: family, created: 0 },
      kernels,
      config: configOf(family, attention, 'slot'),
      tokenizer: readJson(new URL(`${family}/tokenizer.json`, checkpoints)),
      openWeights: weightsOf(family),
    },
    base: { maxTokens: 14, prefix: 'x = [1, 2, ', suffix: attention === 'bidirectional' ? ']\n' : '' },
    longPrefix: 'return a\n'.repeat(30),
    refused: {
      freezeAfter: [{ freezeAfter: 1 }, 'freeze_after'],
      decoding: [{ decoding: 'autoregressive', suffix: '' }, 'decoding'],
      ...(attention === 'block-causal' && { suffix: [{ suffix: 'x' }, 'suffix'] }),
    },
  };
}

const CONTRACTS: Record<string, Contract> = {
  'three-stream': threeStream,
  'single-stream, bidirectional': singleStream('bidirectional'),
  'single-stream, block-causal': singleStream('block-causal'),
  autoregressive: {
    ...threeStream,
    base: { maxTokens: 14, suffix: '', decoding: 'autoregressive' },
    refused: {
      suffix: [{ suffix: 'x' }, 'suffix'],
      revealThreshold: [{ revealThreshold: 0.5 }, 'reveal_threshold'],
      editThreshold: [{ editThreshold: 0.5 }, 'edit_threshold'],
      canvasWidth: [{ canvasWidth: 4 }, 'canvas_width'],
      freezeAfter: [{ freezeAfter: 1 }, 'freeze_after'],
    },
  },
};

afterEach(() => {
  vi.restoreAllMocks();
});

describe.each(Object.entries(CONTRACTS))('%s', (_, { parts, base, longPrefix, refused }) => {
  /** One request at a time, so that a place that is not freed blocks all others. */
  const open = (limits: EngineLimits = {}): Promise<Engine> =>
    createEngine({ ...parts, limits: { cacheBytes: ONE_PAIR, maxConcurrent: 1, ...limits } });
  const ask = (engine: Engine, changes: Partial<GenerateRequest> = {}, signal?: AbortSignal) =>
    run(engine, { ...base, ...changes }, signal);
  const begin = (engine: Engine, signal = new AbortController().signal) => engine.generate(request(base), signal);
  const gone = new Error('client has gone');

  describe('an abort', () => {
    it('should throw its reason before anything is done, and leave no place taken', async () => {
      const engine = await open({ maxWaiting: 0 });
      await expect(ask(engine, {}, AbortSignal.abort(gone))).rejects.toBe(gone);
      expect((await ask(engine)).completion.text).not.toBe('');
    });

    it('should throw its reason while waiting in the queue, and let the others go on', async () => {
      const engine = await open();
      const first = begin(engine);
      await first.next();
      const controller = new AbortController();
      const waiting = ask(engine, {}, controller.signal);
      await pause();
      expect(engine.waiting).toBe(1);
      controller.abort(gone);
      await expect(waiting).rejects.toBe(gone);
      expect(engine.waiting).toBe(0);
      expect((await first.next()).done).toBe(false);
      await first.return(undefined as never);
    });

    it.each([0, 1, 2, 3])('should throw its reason after %i turns of the event loop', async (turns) => {
      const engine = await open({ maxWaiting: 0 });
      const controller = new AbortController();
      const running = ask(engine, { prefix: longPrefix }, controller.signal);
      const outcome = running.then(
        () => 'completed',
        (error: unknown) => error,
      );
      for (let turn = 0; turn < turns; turn++) await pause();
      controller.abort(gone);
      expect(await outcome).toBe(gone);
      expect((await ask(engine)).completion.text).not.toBe('');
    });

    it('should throw its reason after any of the frames, and not change the next completion', async () => {
      const engine = await open({ maxWaiting: 0 });
      const { frames, completion } = await ask(engine);
      expect(frames.length).toBeGreaterThan(2);
      for (let frame = 1; frame <= frames.length; frame++) {
        const controller = new AbortController();
        const generation = begin(engine, controller.signal);
        for (let at = 0; at < frame; at++) await generation.next();
        controller.abort(gone);
        await expect(generation.next()).rejects.toBe(gone);
        expect(said((await ask(engine)).completion)).toEqual(said(completion));
      }
    });

    it('should free the place at once, even if the next frame is never requested', async () => {
      const engine = await open({ maxWaiting: 0 });
      const controller = new AbortController();
      await begin(engine, controller.signal).next();
      await expect(ask(engine)).rejects.toThrow(EngineBusy);
      controller.abort();
      expect((await ask(engine)).completion.text).not.toBe('');
    });

    it('should have the same effect as ending the iteration', async () => {
      const engine = await open({ maxWaiting: 0 });
      const generation = begin(engine);
      await generation.next();
      await generation.return(undefined as never);
      expect((await ask(engine)).completion.text).not.toBe('');
    });
  });

  describe('the queue', () => {
    it('should serve in order of arrival, count who waits, and refuse one more than may wait', async () => {
      const engine = await open({ maxWaiting: 2 });
      const served: number[] = [];
      const answers = [0, 1, 2].map((index) => ask(engine).then(() => served.push(index)));
      await expect(ask(engine)).rejects.toThrow(EngineBusy);
      expect(engine.waiting).toBe(2);
      await Promise.all(answers);
      expect(served).toEqual([0, 1, 2]);
      expect(engine.waiting).toBe(0);
    });

    it('should skip a request that is not resumed, and let it continue later', async () => {
      const engine = await open();
      const { completion } = await ask(engine);
      const now = vi.spyOn(Date, 'now').mockReturnValue(0);
      const silent = begin(engine);
      await silent.next();
      now.mockReturnValue(60_000);
      expect((await ask(engine)).completion.text).not.toBe('');
      for (;;) {
        const { done, value } = await silent.next();
        if (!done) continue;
        expect(said(value)).toEqual(said(completion));
        break;
      }
    });

    it('should let the event loop run between steps', async () => {
      const engine = await open();
      let turns = 0;
      const timer = setInterval(() => turns++, 0);
      await ask(engine);
      clearInterval(timer);
      expect(turns).toBeGreaterThan(0);
    });
  });

  describe('a budget', () => {
    it.each([1, 2, 4])('should be kept, of %i steps', async (maxSteps) => {
      const { frames, completion } = await ask(await open(), { maxSteps });
      expect(completion.usage.steps).toBe(maxSteps);
      expect(frames).toHaveLength(maxSteps);
      expect(completion.text).not.toBe('');
    });

    it.each([0, 1, 5])('should be kept, of %i tokens', async (maxTokens) => {
      const { completion } = await ask(await open(), { maxTokens });
      expect(completion.usage.completionTokens).toBeLessThanOrEqual(maxTokens);
      expect(completion.finishReason).toBe('length');
      expect(completion.usage.promptTokens).toBeGreaterThan(0);
    });

    it('should not go beyond what the model may emit', async () => {
      const engine = await open();
      const { usage } = (await ask(engine, { maxTokens: 10_000 })).completion;
      expect(usage.completionTokens).toBeLessThanOrEqual(engine.model.maxOutputTokens);
    });

    it('should end a request one step after its deadline, which counts its time in the queue', async () => {
      const engine = await open();
      const whole = (await ask(engine)).completion.usage.steps;
      expect((await ask(engine, { deadlineMs: 0 })).completion.usage.steps).toBe(1);
      expect((await ask(engine, { deadlineMs: 600_000 })).completion.usage.steps).toBe(whole);
      const clock = vi.spyOn(performance, 'now');
      let nowMs = 0;
      clock.mockImplementation(() => nowMs);
      const late = ask(engine, { deadlineMs: 500 });
      nowMs += 1000;
      expect((await late).completion.usage.steps).toBe(1);
    });

    it('should end a request one step after its time for denoising, which begins with the first step', async () => {
      const engine = await open();
      const whole = (await ask(engine)).completion.usage.steps;
      expect((await ask(engine, { maxDenoisingMs: 0 })).completion.usage.steps).toBe(1);
      const clock = vi.spyOn(performance, 'now');
      let nowMs = 0;
      clock.mockImplementation(() => nowMs);
      const unhurried = ask(engine, { maxDenoisingMs: 500 });
      nowMs += 1000;
      expect((await unhurried).completion.usage.steps).toBe(whole);
    });
  });

  it('should report usage that adds up', async () => {
    const engine = await open();
    const { frames, completion } = await ask(engine, { showCanvas: true });
    const { usage } = completion;
    expect(usage.steps).toBe(frames.length);
    expect(frames.map(({ canvas }) => canvas!.step)).toEqual(frames.map((_, index) => index + 1));
    expect(usage.slotEvaluations).toBeGreaterThanOrEqual(usage.steps);
    expect(usage.slotEvaluations).toBeLessThanOrEqual(
      frames.reduce((sum, { canvas }) => sum + canvas!.slots.length, 0),
    );
    expect(usage.completionTokens).toBe(completion.tokens!.length);
    expect(completion.tokens!.map(({ text }) => text).join('')).toBe(completion.text);
    expect(usage.cachedTokens).toBe(0);
    expect(usage.truncatedTokens).toBe(0);
    expect(usage.prefillMs).toBeLessThanOrEqual(usage.cpuMs);
    expect(usage.cpuMs).toBeGreaterThanOrEqual(frames.at(-1)!.canvas!.cpuMs);
    expect(usage.queueMs).toBeGreaterThanOrEqual(0);
    const again = (await ask(engine)).completion.usage;
    expect(again.cachedTokens).toBeLessThanOrEqual(again.promptTokens);
    expect(again).toMatchObject({ promptTokens: usage.promptTokens, slotEvaluations: usage.slotEvaluations });
    const long = (await ask(engine, { prefix: longPrefix })).completion.usage;
    expect(long.truncatedTokens).toBeGreaterThan(0);
    expect(long.promptTokens).toBeLessThanOrEqual(engine.model.contextLength);
  });

  /** What each setting does, where the model does it. */
  const effects: Record<Setting, (engine: Engine) => Promise<void>> = {
    async suffix(engine) {
      const promptTokens = async (suffix: string) => (await ask(engine, { suffix })).completion.usage.promptTokens;
      expect(await promptTokens('x = 1')).toBeGreaterThan(await promptTokens(''));
    },
    async prefixTokens(engine) {
      const { prefix } = request(base);
      // A token for each byte: another way to write the text.
      const ids = Array.from({ length: 272 }, (_, id) => id).filter((id) => engine.vocabulary.isText(id));
      const prefixTokens = [...prefix].map(
        (character) => ids.find((id) => engine.vocabulary.decode([id]) === character)!,
      );
      const { usage } = (await ask(engine, { prefixTokens })).completion;
      expect(usage.promptTokens).toBeGreaterThanOrEqual(prefixTokens.length);
      expect(usage.promptTokens).not.toBe((await ask(engine, { prefix: `${prefix}x` })).completion.usage.promptTokens);
    },
    async maxTokens(engine) {
      const tokens = async (maxTokens: number) => (await ask(engine, { maxTokens })).completion.usage.completionTokens;
      expect(await tokens(3)).toBeLessThan(await tokens(14));
    },
    async stop(engine) {
      const { text } = (await ask(engine)).completion;
      const stop = text.slice(2, 4);
      const stopped = (await ask(engine, { stop: [stop] })).completion;
      expect(stopped).toMatchObject({ text: text.slice(0, text.indexOf(stop)), finishReason: 'stop' });
    },
    async ends(engine) {
      const { text, usage } = (await ask(engine)).completion;
      const ended = (await ask(engine, { ends: (said) => (said.length > 3 ? 2 : undefined) })).completion;
      expect(ended).toMatchObject({ text: text.slice(0, 2), finishReason: 'stop', ending: { by: 'editor' } });
      expect(ended.usage.steps).toBeLessThanOrEqual(usage.steps);
    },
    async temperature(engine) {
      const texts = [0, 2].map(async (temperature) => (await ask(engine, { temperature, seed: 1 })).completion.text);
      expect(new Set(await Promise.all(texts)).size).toBe(2);
    },
    async topP(engine) {
      const text = async (topP: number) => (await ask(engine, { temperature: 2, topP, seed: 1 })).completion.text;
      expect(await text(1e-6)).toBe((await ask(engine)).completion.text);
      expect(await text(1)).not.toBe(await text(1e-6));
    },
    async seed(engine) {
      const text = async (seed: number) => (await ask(engine, { temperature: 2, seed })).completion.text;
      expect(await text(1)).toBe(await text(1));
      expect(await text(1)).not.toBe(await text(2));
    },
    async presencePenalty(engine) {
      expect(said((await ask(engine, { presencePenalty: 2 })).completion)).not.toEqual(
        said((await ask(engine)).completion),
      );
    },
    async frequencyPenalty(engine) {
      const penalized = (await ask(engine, { frequencyPenalty: 2 })).completion;
      expect(said(penalized)).not.toEqual(said((await ask(engine)).completion));
    },
    async logitBias(engine) {
      const tilde = Array.from({ length: 272 }, (_, id) => id).find((id) => engine.vocabulary.decode([id]) === '~')!;
      const { text } = (await ask(engine, { logitBias: new Map([[tilde, 100]]), maxTokens: 9 })).completion;
      expect(text).toBe('~'.repeat(9));
    },
    async alternatives(engine) {
      const { tokens } = (await ask(engine, { alternatives: 3 })).completion;
      for (const { alternatives } of tokens!) expect(alternatives!.length).toBeOneOf([3, 4]);
      expect((await ask(engine)).completion.tokens![0]).not.toHaveProperty('alternatives');
    },
    async maxSteps(engine) {
      expect((await ask(engine, { maxSteps: 2 })).completion.usage.steps).toBe(2);
    },
    async deadlineMs(engine) {
      expect((await ask(engine, { deadlineMs: 0 })).completion.usage.steps).toBe(1);
    },
    async maxDenoisingMs(engine) {
      expect((await ask(engine, { maxDenoisingMs: 0 })).completion.usage.steps).toBe(1);
    },
    async revealThreshold(engine) {
      const steps = async (revealThreshold: number) =>
        (await ask(engine, { revealThreshold, editThreshold: 1 })).completion.usage.steps;
      expect(await steps(1e-6)).toBeLessThan(await steps(1));
    },
    async editThreshold(engine) {
      const edits = async (editThreshold: number) => {
        const canvasWidth = engine.model.diffusion!.canvasWidths.at(-1)!;
        // Text generated in the meantime makes another token the best one.
        const penalties = { presencePenalty: 2, frequencyPenalty: 2 };
        const never = refused.freezeAfter ? {} : { freezeAfter: Number.POSITIVE_INFINITY };
        const { frames } = await ask(engine, { editThreshold, canvasWidth, showCanvas: true, ...penalties, ...never });
        return frames.flatMap(({ canvas }) => canvas!.slots.filter(({ change }) => change === 'edit')).length;
      };
      expect(await edits(1)).toBe(0);
      expect(await edits(1e-6)).toBeGreaterThan(0);
    },
    async canvasWidth(engine) {
      for (const canvasWidth of engine.model.diffusion!.canvasWidths) {
        const { frames } = await ask(engine, { canvasWidth, maxTokens: 2, showCanvas: true });
        expect(frames[0]!.canvas!.slots.length).toBeLessThanOrEqual(canvasWidth);
        expect(frames[0]!.canvas!.slots.length).toBeGreaterThan(canvasWidth / 2);
      }
      const other = ask(engine, { canvasWidth: 7 });
      await expect(other).rejects.toMatchObject({ name: 'NotOfThisModel', param: 'canvas_width' });
    },
    async freezeAfter(engine) {
      const evaluations = async (freezeAfter: number) =>
        (await ask(engine, { freezeAfter, canvasWidth: 12 })).completion.usage.slotEvaluations;
      expect(await evaluations(1)).toBeLessThan(await evaluations(Number.POSITIVE_INFINITY));
    },
    async reuse(engine) {
      const { prefix } = request(base);
      const { text } = (await ask(engine, { reuse: true })).completion;
      const rest = (await ask(engine, { reuse: true, prefix: prefix + text.slice(0, 1) })).completion;
      expect(rest.text).toBe(text.slice(1));
      expect(rest.usage.steps).toBe(0);
    },
    async nearFirst(engine) {
      // None of these models has a near window: read-ahead.test.ts.
      expect(said((await ask(engine, { nearFirst: true })).completion)).toEqual(said((await ask(engine)).completion));
    },
    async keepAlive(engine) {
      // Without a near window there is no such work: read-ahead.test.ts.
      const works: Promise<void>[] = [];
      await ask(engine, { keepAlive: (work) => works.push(work), nearFirst: true });
      expect(works).toEqual([]);
    },
    async decoding(engine) {
      const evaluations = async (decoding: GenerateRequest['decoding']) => {
        const { usage } = (await ask(engine, { decoding: decoding!, suffix: '' })).completion;
        return usage.slotEvaluations / usage.steps;
      };
      expect(await evaluations('autoregressive')).toBe(1);
      expect(await evaluations('diffusion')).toBeGreaterThan(1);
    },
    async showCanvas(engine) {
      const shown = await ask(engine, { showCanvas: true });
      expect(shown.frames.every(({ canvas }) => canvas !== undefined)).toBe(true);
      expect((await ask(engine)).frames.some((frame) => 'canvas' in frame)).toBe(false);
    },
  };

  describe('a setting', () => {
    it.each(Object.keys(effects) as Setting[])('should be done or refused by name: %s', async (setting) => {
      const engine = await open({ maxWaiting: 0 });
      const refusal = refused[setting];
      if (refusal === undefined) {
        await effects[setting](await open());
        return;
      }
      const [changes, param] = refusal;
      await expect(ask(engine, changes)).rejects.toMatchObject({ name: 'NotOfThisModel', param });
      // A refusal takes no place.
      expect((await ask(engine)).completion.text).not.toBe('');
    });
  });
});
