/** What a completion says is text, and says why it ends; each millisecond is booked where it belongs. */
import { describe, expect, it, vi } from 'vitest';
import type { GenerateRequest } from '../../src/engine/types.ts';
import { UsageMeter } from '../../src/engine/usage-meter.ts';
import { kernelModule } from '../assembly/builds.ts';
import { randomModel } from '../denoiser/random-model.ts';
import { byteId, specialTokens } from '../tokenizer/sample-tokenizer.ts';
import { CANVAS_SLOTS, ONE_PAIR, run, sampleEngine } from './sample-engine.ts';

const kernels = { relaxed: kernelModule('relaxed'), simd: kernelModule('simd') };

/** A model that likes the bytes of characters beyond ASCII, and does not know which of them go together. */
async function wildEngine() {
  const model = randomModel(1);
  for (let byte = 0x80; byte <= 0xff; byte++) model.embedding.scales[byteId(byte)]! *= 2;
  return sampleEngine(kernels, ONE_PAIR, model);
}
const engine = await wildEngine();

const REQUESTS: Partial<GenerateRequest>[] = [
  {},
  { suffix: '' },
  { suffix: '', decoding: 'autoregressive' },
  { suffix: '', decoding: 'autoregressive', temperature: 1, seed: 3 },
  { temperature: 1, seed: 5 },
  { temperature: 1.5, topP: 0.9, seed: 6 },
  { maxSteps: 2 },
  { editThreshold: 0.05, freezeAfter: 3 },
  { maxTokens: CANVAS_SLOTS - 1 },
  { maxTokens: 1 },
  { presencePenalty: 1, frequencyPenalty: 1 },
  { prefix: 'const icons = ["🚀", "🔥", "', suffix: '\n' },
  { stop: ['é', '\u0080', 'q', 'Q', ' '] },
];

describe('text', () => {
  it.each(REQUESTS)('should be whole characters in every frame, slot and token: %j', async (changes) => {
    const { frames, completion } = await run(engine, { ...changes, showCanvas: true, alternatives: 2 });
    const texts = [
      completion.text,
      ...completion.tokens!.map(({ text }) => text),
      ...frames.flatMap(({ text, settled, canvas }) => [text, settled, ...canvas!.slots.map((slot) => slot.text)]),
    ];
    for (const text of texts) {
      expect(text).not.toMatch(/[\ufffd\r\0]/);
      expect(text.isWellFormed()).toBe(true);
    }
    for (const { text, bytes, logProbability, alternatives } of completion.tokens!) {
      const taken = alternatives!.find(({ name }) => name === (bytes ?? text));
      expect(taken).toMatchObject({ logProbability });
    }
  });

  it('should have characters that are no ASCII, or this would show nothing', async () => {
    expect((await run(engine)).completion.text).toMatch(/[^\0-\x7f]/);
  });
});

describe('the end of a text', () => {
  it('should be reported with its stop string', async () => {
    const { text } = (await run(engine)).completion;
    const characters = [...text];
    const stop = characters.slice(3, 5).join('');
    const { completion } = await run(engine, { stop: ['never', stop, `${stop}${characters[5]}`] });
    expect(completion).toMatchObject({ finishReason: 'stop', ending: { by: 'stop', stop } });
  });

  it('should not be half of a character that only looks like one', async () => {
    const prefix = 'const icons = ["🚀", "🔥", "';
    const plain = (await run(engine, { prefix })).completion;
    for (const stop of ['\udc80', '\ud83d']) {
      const { completion } = await run(engine, { prefix, stop: [stop] });
      expect(completion.text).toBe(plain.text);
    }
  });

  it('should be reported when a limit or a budget caused it', async () => {
    expect((await run(engine, { maxTokens: 3 })).completion).toMatchObject({ ending: { by: 'max_tokens' } });
    expect((await run(engine, { maxSteps: 1 })).completion).toMatchObject({ ending: { by: 'budget' } });
  });

  it('should be that of the model, and as sure of an empty text as of its end', async () => {
    const logitBias = new Map([[specialTokens.eom, 100]]);
    const { completion } = await run(engine, { logitBias });
    expect(completion).toMatchObject({ text: '', ending: { by: 'end' }, finishReason: 'stop' });
    expect(completion.confidence).toBeCloseTo(0, 5);
    const unsure = randomModel(1);
    unsure.embedding.scales[specialTokens.eom]! *= 2.5;
    const other = (
      await run(await sampleEngine(kernels, ONE_PAIR, unsure), { logitBias: new Map([[specialTokens.eom, 5]]) })
    ).completion;
    expect(other).toMatchObject({ text: '', ending: { by: 'end' } });
    expect(other.confidence).toBeLessThan(0);
  });

  it('should be where the caller says, without work after it', async () => {
    const whole = (await run(engine)).completion;
    const ends = (text: string) => (text.length > 4 ? 2 : undefined);
    const { completion, frames } = await run(engine, { ends });
    expect(completion).toMatchObject({ text: whole.text.slice(0, 2), ending: { by: 'editor' }, finishReason: 'stop' });
    expect(completion.usage.steps).toBeLessThan(whole.usage.steps);
    for (const { settled } of frames) expect(completion.text.startsWith(settled)).toBe(true);
    const own = completion.tokens!.reduce((sum, { logProbability }) => sum + logProbability, 0);
    expect(completion.confidence).toBeCloseTo(own / completion.tokens!.length, 10);
  });
});

describe('time', () => {
  it('should be that of reading until the first step, and that of writing from then on', () => {
    const clock = vi.spyOn(performance, 'now');
    let nowMs = 0;
    clock.mockImplementation(() => nowMs);
    const spend = (ms: number) => () => {
      nowMs += ms;
    };
    const meter = new UsageMeter({}, 0);
    meter.measure(() => meter.measurePrefill(spend(3)));
    meter.spend(10, 7);
    meter.step(8);
    meter.spend(20, 5);
    meter.measure(() => meter.measurePrefill(spend(2)));
    clock.mockRestore();
    expect(meter.usage({ prefix: [], suffix: [], truncatedTokens: 0 })).toMatchObject({ cpuMs: 35, prefillMs: 10 });
  });

  it('should count the reading of text before its first token', async () => {
    const { usage } = (await run(engine, { prefix: 'class A:\n'.repeat(30), maxTokens: 60 })).completion;
    const { usage: again } = (await run(engine, { prefix: 'class A:\n'.repeat(30), maxTokens: 60 })).completion;
    expect(usage.prefillMs).toBeGreaterThan(0);
    expect(again.cachedTokens).toBe(again.promptTokens);
    expect(again.prefillMs! / again.cpuMs).toBeLessThan(0.5);
  });
});
