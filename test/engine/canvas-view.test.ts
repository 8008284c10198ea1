import { describe, expect, it } from 'vitest';
import type { Predictions } from '../../src/denoiser/transformer/predictions.ts';
import { Canvas } from '../../src/diffusion/canvas.ts';
import { slotViews } from '../../src/engine/canvas-view.ts';
import type { GenerateRequest } from '../../src/engine/types.ts';
import { loadTokenizer } from '../../src/tokenizer/tokenizer.ts';
import { kernelModule } from '../assembly/builds.ts';
import { sampleTokenizer } from '../tokenizer/sample-tokenizer.ts';
import { CANVAS_SLOTS, request, run, sampleEngine } from './sample-engine.ts';

const tokenizer = loadTokenizer(sampleTokenizer());
const { special } = tokenizer;
const [a, b, c] = tokenizer.encode('a(1');

/** Predicts `token` with probability one half at every row. */
function predictionsOf(rows: number, token: number): Predictions {
  const ids = Int32Array.from({ length: rows * 2 }, (_, at) => (at % 2 === 0 ? special.mask : token));
  return {
    rows,
    candidates: 2,
    ids,
    logits: new Float32Array(rows * 2).fill(Math.log(0.5)),
    logSumExp: new Float32Array(rows),
    allLogits: () => new Float32Array(),
  };
}

describe('the view of a step', () => {
  it('should show reveals, edits, masks with their predictions, the end and the slots that it drops', () => {
    const canvas = new Canvas(6, special);
    canvas.reveal(0, { token: a!, logProbability: Math.log(0.9) });
    canvas.reveal(1, { token: a!, logProbability: Math.log(0.8) });
    const before = canvas.tokens.slice();
    canvas.edit(1, { token: b!, logProbability: Math.log(0.7) });
    canvas.reveal(2, { token: c!, logProbability: Math.log(0.6) });
    canvas.reveal(4, { token: special.eom, logProbability: Math.log(0.5) });
    canvas.dropBehindEnd();
    const views = slotViews({ canvas, before, predictions: predictionsOf(6, b!), rowOf: (slot) => slot }, tokenizer);
    const rounded = views.map((view) => ({ ...view, confidence: Number(view.confidence.toFixed(3)) }));
    expect(rounded).toEqual([
      { state: 'token', text: 'a', confidence: 0.9 },
      { state: 'token', text: '(', confidence: 0.7, change: 'edit' },
      { state: 'token', text: '1', confidence: 0.6, change: 'reveal' },
      { state: 'mask', text: '(', confidence: 0.5 },
      { state: 'end', text: '', confidence: 0.5, change: 'reveal' },
      { state: 'dropped', text: '', confidence: 0, change: 'drop' },
    ]);
  });

  it('should show slots that are restored when the end is edited', () => {
    const canvas = new Canvas(3, special);
    canvas.reveal(0, { token: special.eom, logProbability: 0 });
    canvas.dropBehindEnd();
    const before = canvas.tokens.slice();
    canvas.edit(0, { token: a!, logProbability: 0 });
    canvas.dropBehindEnd();
    const views = slotViews({ canvas, before, predictions: predictionsOf(1, b!), rowOf: () => undefined }, tokenizer);
    expect(views).toEqual([
      { state: 'token', text: 'a', confidence: 1, change: 'edit' },
      { state: 'mask', text: '', confidence: 0, change: 'remask' },
      { state: 'mask', text: '', confidence: 0, change: 'remask' },
    ]);
  });
});

describe('frames with a canvas', async () => {
  const engine = await sampleEngine({ relaxed: kernelModule('relaxed'), simd: kernelModule('simd') });
  const REQUESTS: Partial<GenerateRequest>[] = [{}, { suffix: '' }, { temperature: 1, seed: 4 }, { maxSteps: 3 }];

  it.each(REQUESTS)('should number steps and blocks, and add up to the text: %j', async (changes) => {
    const { frames, completion } = await run(engine, { ...changes, showCanvas: true });
    expect(frames.map(({ canvas }) => canvas!.step)).toEqual(frames.map((_, index) => index + 1));
    const lastOfBlocks = frames.filter((frame, at) => frames[at + 1]?.canvas?.block !== frame.canvas!.block);
    expect(lastOfBlocks.map(({ canvas }) => canvas!.block)).toEqual(lastOfBlocks.map((_, index) => index));
    const said = lastOfBlocks.flatMap(({ canvas }) => canvas!.slots.filter(({ state }) => state === 'token'));
    expect(said.length).toBeGreaterThanOrEqual(completion.usage.completionTokens);
    const ascii = (text: string) => text.replaceAll(/[^\x20-\x7e]/g, '');
    expect(ascii(said.map(({ text }) => text).join(''))).toContain(ascii(completion.text));
    let cpuMs = 0;
    for (const { canvas } of frames) {
      expect(canvas!.cpuMs).toBeGreaterThanOrEqual(cpuMs);
      cpuMs = canvas!.cpuMs;
    }
    expect(completion.usage.cpuMs).toBeGreaterThanOrEqual(cpuMs);
  });

  it('should guess at masks until they are revealed', async () => {
    const { frames } = await run(engine, { showCanvas: true });
    const masks = frames.flatMap(({ canvas }) => canvas!.slots.filter(({ state }) => state === 'mask'));
    expect(masks.length).toBeGreaterThan(0);
    for (const { confidence } of masks) expect(confidence).toBeGreaterThan(0);
  });

  it('should not change the text, and be absent unless requested', async () => {
    const shown = await run(engine, { showCanvas: true });
    const plain = await run(engine);
    expect(shown.completion.text).toBe(plain.completion.text);
    expect(plain.frames.some((frame) => 'canvas' in frame)).toBe(false);
  });

  it('should have the width that the request asks for', async () => {
    const { frames } = await run(engine, { ...request(), canvasWidth: CANVAS_SLOTS, maxTokens: 2, showCanvas: true });
    for (const { canvas } of frames) expect(canvas!.slots).toHaveLength(CANVAS_SLOTS);
  });
});
