import { describe, expect, it } from 'vitest';
import { CompletionCache } from '../../src/engine/completion-cache.ts';
import type { Completion, GenerateRequest } from '../../src/engine/types.ts';
import { kernelModule } from '../assembly/builds.ts';
import { request, run, said, sampleEngine } from './sample-engine.ts';

const PIECES = ['con', 'st x', ' =', ' 1;'];

function completionOf(pieces: readonly string[], finishReason: Completion['finishReason'] = 'stop'): Completion {
  const tokens = pieces.map((text, index) => ({ text, logProbability: -index }));
  const usage = {
    promptTokens: 9,
    cachedTokens: 2,
    truncatedTokens: 1,
    completionTokens: tokens.length,
    steps: 3,
    slotEvaluations: 24,
    cpuMs: 5,
  };
  return { text: pieces.join(''), finishReason, confidence: -1.5, usage, tokens };
}

const asked = (changes: Partial<GenerateRequest> = {}) => request({ reuse: true, prefix: 'a\n', ...changes });

function given(completion = completionOf(PIECES), changes: Partial<GenerateRequest> = {}): CompletionCache {
  const cache = new CompletionCache();
  cache.store(asked(changes), completion);
  return cache;
}

describe('CompletionCache', () => {
  it.each([
    ['c', ['on', 'st x', ' =', ' 1;'], -1.5],
    ['con', ['st x', ' =', ' 1;'], -2],
    ['const', [' x', ' =', ' 1;'], -2],
    ['const x = 1', [';'], -3],
  ])('should give the rest when %j has been typed', (typed, pieces, confidence) => {
    const rest = given().lookup(asked({ prefix: `a\n${typed}` }))!;
    expect(rest.text).toBe(pieces.join(''));
    expect(rest.tokens!.map(({ text }) => text)).toEqual(pieces);
    expect(rest).toMatchObject({ finishReason: 'stop', confidence });
    expect(rest.usage).toMatchObject({
      steps: 0,
      slotEvaluations: 0,
      completionTokens: pieces.length,
      promptTokens: 9,
    });
  });

  it('should give the whole to the same request', () => {
    expect(given().lookup(asked())!.text).toBe('const x = 1;');
  });

  it.each(['v', 'const y', 'const x = 1;', 'const x = 1;\n'])('should give nothing when %j has been typed', (typed) => {
    expect(given().lookup(asked({ prefix: `a\n${typed}` }))).toBeUndefined();
  });

  it.each<Partial<GenerateRequest>>([
    { prefix: 'b\nc' },
    { prefix: 'a' },
    { suffix: 'other' },
    { reuse: false },
    { maxTokens: 41 },
    { stop: ['\n'] },
    { temperature: 0.5 },
    { presencePenalty: 1 },
    { canvasWidth: 8 },
    { maxSteps: 2 },
    { deadlineMs: 100 },
    { showCanvas: true },
    { logitBias: new Map([[1, 1]]) },
  ])('should give nothing to a request that asks otherwise: %j', (changes) => {
    expect(given().lookup(asked({ prefix: 'a\nc' }))).toBeDefined();
    expect(given().lookup(asked({ prefix: 'a\nc', ...changes }))).toBeUndefined();
  });

  it('should store nothing of a request without reuse, or of an empty completion', () => {
    expect(given(completionOf(PIECES), { reuse: false }).lookup(asked())).toBeUndefined();
    expect(given(completionOf([])).lookup(asked())).toBeUndefined();
  });

  it('should compute again when less than half is left of a completion that a limit has cut', () => {
    const cut = given(completionOf(PIECES, 'length'));
    expect(cut.lookup(asked({ prefix: 'a\nconst x' }))!.text).toBe(' = 1;');
    expect(cut.lookup(asked({ prefix: 'a\nconst x =' }))).toBeUndefined();
  });

  it('should take the newest that agrees', () => {
    const cache = given();
    cache.store(asked({ prefix: 'a\nc' }), completionOf(['lass', ' A']));
    expect(cache.lookup(asked({ prefix: 'a\ncl' }))!.text).toBe('ass A');
    expect(cache.lookup(asked({ prefix: 'a\nco' }))!.text).toBe('nst x = 1;');
  });

  it('should forget the oldest, by number and by length', () => {
    const cache = given();
    for (let n = 0; n < 40; n++) cache.store(asked({ prefix: `${n}` }), completionOf(PIECES));
    expect(cache.lookup(asked())).toBeUndefined();
    expect(cache.lookup(asked({ prefix: '39c' }))).toBeDefined();
    const long = 'x'.repeat(600_000);
    cache.store(asked({ prefix: long }), completionOf(PIECES));
    cache.store(asked({ prefix: `${long}y` }), completionOf(PIECES));
    expect(cache.lookup(asked({ prefix: '39c' }))).toBeUndefined();
    expect(cache.lookup(asked({ prefix: `${long}c` }))).toBeUndefined();
    expect(cache.lookup(asked({ prefix: `${long}yc` }))).toBeDefined();
  });
});

describe('the engine', () => {
  it('should take no step for the rest of an earlier completion, and only with reuse', async () => {
    const engine = await sampleEngine({ relaxed: kernelModule('relaxed'), simd: kernelModule('simd') });
    const first = (await run(engine, { reuse: true })).completion;
    const prefix = request().prefix + first.text[0];
    const rest = await run(engine, { prefix, reuse: true });
    expect(rest.frames).toEqual([]);
    expect(rest.completion.text).toBe(first.text.slice(1));
    expect(rest.completion.usage.steps).toBe(0);
    const anew = (await run(engine, { prefix })).completion;
    expect(anew.usage.steps).toBeGreaterThan(0);
    expect(said(anew)).not.toEqual(said(rest.completion));
  });
});
