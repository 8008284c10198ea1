/** Drafts of n-grams of the text: they save passes, and change no bit of a completion. */

import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { Denoiser } from '../../../src/denoiser/three-stream/denoiser.ts';
import type { Engine, EngineLimits, GenerateRequest } from '../../../src/engine/types.ts';
import { run } from '../sample-engine.ts';
import { openShifted } from './shifted-model.ts';

const NO_DRAFTS: EngineLimits = { draftTokens: 0 };
/** @param bias of the n-grams: the higher, the more they decide */
function open(bias: number, limits: EngineLimits = {}): Promise<Engine> {
  return openShifted({ canvas_width: 1, context_ngrams: { bias, length: 1, share: 1, count: 0.2 } }, limits);
}

/** What a completion says, without its times. */
async function said(engine: Engine, request: Partial<GenerateRequest>) {
  const { frames, completion } = await run(engine, request);
  const { cpuMs: _, prefillMs: _p, queueMs: _q, ...usage } = completion.usage;
  return { ...completion, usage, frames: frames.map(({ text, settled }) => ({ text, settled })) };
}

const repeated = {
  prefix: `${'value = f(value, 1);\n'.repeat(4)}value = f(`,
  suffix: '\nreturn value;\n',
  maxTokens: 24,
};
const REQUESTS: Partial<GenerateRequest>[] = [
  repeated,
  { ...repeated, suffix: '' },
  { ...repeated, prefix: `${repeated.prefix}val`, maxTokens: 9 },
  { ...repeated, maxTokens: 1 },
  { ...repeated, temperature: 0.9, seed: 7 },
  { ...repeated, temperature: 1.5, seed: 8 },
  { ...repeated, presencePenalty: 1 },
  { ...repeated, alternatives: 3 },
  { ...repeated, stop: [');'] },
  { ...repeated, ends: (text) => (text.includes('\n') ? text.indexOf('\n') : undefined) },
  { ...repeated, suffix: '1);\n' },
  { prefix: 'no text is here twice', suffix: '', maxTokens: 6 },
];

// The n-grams decide everything, next to nothing, and something.
describe.each([9, -3, 1])('completions with drafts (bias %i)', (bias) => {
  let engine: Engine;
  let plain: Engine;
  beforeAll(async () => {
    plain = await open(bias, NO_DRAFTS);
    engine = await open(bias);
  });
  afterEach(() => vi.restoreAllMocks());

  it.each(REQUESTS.keys().toArray())('should be those without, to the bit (request %i)', async (index) => {
    expect(await said(engine, REQUESTS[index]!)).toEqual(await said(plain, REQUESTS[index]!));
  });

  it('should be those without while other requests share the passes', async () => {
    const expected = [];
    for (const request of REQUESTS) expected.push(await said(plain, request));
    const found = await Promise.all(REQUESTS.map((request) => said(engine, request)));
    const timeless = (all: typeof found) =>
      all.map(({ usage: { cachedTokens: _, ...usage }, ...rest }) => ({ ...rest, usage }));
    expect(timeless(found)).toEqual(timeless(expected));
  });
});

describe('rows of what has been written', () => {
  afterEach(() => vi.restoreAllMocks());

  it.each([0, 3])(
    'should be computed again where they are lost, to the bit (drafts of %i tokens)',
    async (draftTokens) => {
      const engine = await open(-3, { draftTokens });
      const request = { ...repeated, prefix: 'const total = items', maxTokens: 20 };
      const expected = await said(engine, request);
      const fresh = await open(-3, { draftTokens });
      const { pass } = Denoiser.prototype;
      let passes = 0;
      vi.spyOn(Denoiser.prototype, 'pass').mockImplementation(function (this: Denoiser, ...parts) {
        const predictions = pass.apply(this, parts);
        passes++;
        if (passes % 4 === 0) for (const context of this.prefixContexts) context.truncate(passes % 8);
        return predictions;
      });
      const { text, tokens, usage } = await said(fresh, request);
      expect(passes).toBeGreaterThan(4);
      expect({ text, tokens }).toEqual({ text: expected.text, tokens: expected.tokens });
      expect(usage.completionTokens).toBe(20);
    },
  );

  it('should not be used by another request', async () => {
    const engine = await open(-3);
    const { completion } = await run(engine, { ...repeated, suffix: '\nfirst(suffix);\n' });
    const next = { prefix: repeated.prefix + completion.text, suffix: '\nanother();\n', maxTokens: 8 };
    expect((await said(engine, next)).tokens).toEqual((await said(await open(-3), next)).tokens);
  });
});

describe('a draft', () => {
  const passesOf = async (engine: Engine, request: Partial<GenerateRequest>) => {
    await run(engine, { ...request, maxTokens: 0 });
    const pass = vi.spyOn(Denoiser.prototype, 'pass');
    const { completion } = await run(engine, request);
    const views = pass.mock.calls.flatMap(([views]) => views);
    pass.mockRestore();
    return { passes: views.length, drafted: views.flatMap(({ ids }) => Array.from(ids).slice(1)).length, completion };
  };

  it('should save passes where the text goes on as it has before', async () => {
    const { passes, completion } = await passesOf(await open(9), repeated);
    expect(completion.usage.completionTokens).toBe(24);
    expect(passes).toBeLessThan(10);
    const plain = await passesOf(await open(9, NO_DRAFTS), repeated);
    expect(plain).toMatchObject({ drafted: 0, passes: completion.usage.steps });
  });

  it('should have no token that is not wanted', async () => {
    const engine = await open(9);
    expect((await passesOf(engine, { ...repeated, maxTokens: 1 })).drafted).toBe(0);
    expect((await passesOf(engine, { ...repeated, maxTokens: 3 })).drafted).toBeLessThanOrEqual(2);
    expect((await passesOf(engine, REQUESTS.at(-1)!)).drafted).toBeLessThan(6);
  });
});
