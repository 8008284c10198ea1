import { describe, expect, it } from 'vitest';
import { parseConfig } from '../../../src/denoiser/three-stream/config.ts';
import { Denoiser } from '../../../src/denoiser/three-stream/denoiser.ts';
import { buildPrompt } from '../../../src/engine/three-stream/prompt.ts';
import type { Engine, GenerateRequest } from '../../../src/engine/types.ts';
import { loadTokenizer } from '../../../src/tokenizer/tokenizer.ts';
import { decodeAutoregressive } from '../../../support/autoregressive-decoding.ts';
import { kernelModule } from '../../assembly/builds.ts';
import { fileTensors, randomModel, SAMPLE_CONFIG } from '../../denoiser/random-model.ts';
import { safetensorsBytes, streamOf } from '../../denoiser/safetensors-file.ts';
import { sampleTokenizer } from '../../tokenizer/sample-tokenizer.ts';
import { CANVAS_SLOTS, ONE_PAIR, run, SEVERAL_PAIRS, said, sampleEngine } from '../sample-engine.ts';

const kernels = { relaxed: kernelModule('relaxed'), simd: kernelModule('simd') };
const AR: Partial<GenerateRequest> = { decoding: 'autoregressive', suffix: '', maxTokens: 30 };
const engine = await sampleEngine(kernels);

/** What decoding without an engine says. */
async function baseline(prefix: string, maxTokens: number): Promise<string> {
  const tokenizer = loadTokenizer(sampleTokenizer());
  const config = parseConfig(SAMPLE_CONFIG);
  const denoiser = await Denoiser.load({
    modules: kernels,
    config,
    openWeights: async () => streamOf(safetensorsBytes(fileTensors(randomModel(1)))),
    cacheBytes: ONE_PAIR,
  });
  const prompt = buildPrompt({ prefix, suffix: '' }, tokenizer, config.diffusion).prefix;
  const tokens = decodeAutoregressive(denoiser, denoiser.prefixContexts[0]!, prompt, maxTokens, tokenizer.special);
  return tokenizer.decoder().push(tokens);
}

describe('autoregressive decoding', () => {
  it.each(['def f(x):\n    return ', '', 'class A:\n'.repeat(30)])(
    'should predict what the next-token model of the weights predicts after %j',
    async (prefix) => {
      const { completion } = await run(engine, { ...AR, prefix });
      expect(completion.text).not.toBe('');
      expect(completion.text).toBe(await baseline(prefix, 30));
    },
  );

  it('should take a pass of one slot for each token, with a frame for each pass', async () => {
    const { frames, completion } = await run(engine, { ...AR, showCanvas: true });
    const { steps, slotEvaluations } = completion.usage;
    expect(steps).toBe(30);
    expect(slotEvaluations).toBe(30);
    expect(frames).toHaveLength(30);
    for (const [index, { canvas }] of frames.entries()) {
      const decided = (index % CANVAS_SLOTS) + 1;
      expect(canvas!.block).toBe(Math.floor(index / CANVAS_SLOTS));
      expect(canvas!.slots.map(({ change }) => change).indexOf('reveal')).toBe(decided - 1);
      expect(canvas!.slots.filter(({ state }) => state === 'token')).toHaveLength(decided);
    }
  });

  it('should settle each token at once', async () => {
    const { frames } = await run(engine, AR);
    for (const { text, settled } of frames) expect(text).toBe(settled);
  });

  it('should end at a stop string and at its step budget', async () => {
    const { text } = (await run(engine, AR)).completion;
    const stop = text.slice(5, 7);
    const stopped = (await run(engine, { ...AR, stop: [stop] })).completion;
    expect(stopped).toMatchObject({ text: text.slice(0, text.indexOf(stop)), finishReason: 'stop' });

    const short = (await run(engine, { ...AR, maxSteps: 4 })).completion;
    expect(short.usage.steps).toBe(4);
    expect(text.startsWith(short.text)).toBe(true);
  });

  it('should depend only on the seed above temperature 0', async () => {
    const text = async (seed: number) => (await run(engine, { ...AR, temperature: 1.5, seed })).completion.text;
    expect(await text(1)).toBe(await text(1));
    expect(await text(1)).not.toBe(await text(2));
  });

  it('should repeat less under a penalty', async () => {
    const distinct = async (changes: Partial<GenerateRequest>) =>
      new Set((await run(engine, { ...AR, ...changes })).completion.tokens!.map(({ text }) => text)).size;
    expect(await distinct({ presencePenalty: 2, frequencyPenalty: 2 })).toBeGreaterThan(await distinct({}));
  });

  it('should refuse a suffix', async () => {
    await expect(run(engine, { ...AR, suffix: 'x' })).rejects.toMatchObject({
      name: 'NotOfThisModel',
      param: 'suffix',
    });
  });

  it('should find its prompt in the prefix cache', async () => {
    const fresh = await sampleEngine(kernels);
    await run(fresh, { suffix: '' });
    const { usage } = (await run(fresh, AR)).completion;
    expect(usage.cachedTokens).toBe(usage.promptTokens - 1);
  });

  it.each([ONE_PAIR, SEVERAL_PAIRS])(
    'should not change the results of other requests, nor they its own (%i bytes of cache)',
    async (cacheBytes) => {
      const alone = async (changes: Partial<GenerateRequest>) =>
        said((await run(await sampleEngine(kernels, cacheBytes), changes)).completion);
      const continued = (of: Engine) => run(of, AR).then(({ completion }) => completion.text);
      const prefix = `def f(x):\n    return ${await continued(engine)}`;
      // The diffusion request continues what was written autoregressively, so that it finds those keys.
      const requests = [AR, { prefix, suffix: '' }, { ...AR, prefix }, { suffix: '' }, AR];
      const expected = await Promise.all(requests.map(alone));
      const shared = await sampleEngine(kernels, cacheBytes);
      for (const [index, changes] of requests.entries()) {
        expect(said((await run(shared, changes)).completion)).toEqual(expected[index]);
      }
      const together = await Promise.all(requests.map((changes) => run(shared, changes)));
      expect(together.map(({ completion }) => said(completion))).toEqual(expected);
    },
  );
});
