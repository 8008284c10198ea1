/** Drafts of n-grams of the text: they save passes, and change no bit of a completion. */

import { createReadStream } from 'node:fs';
import { Readable } from 'node:stream';
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { Denoiser } from '../../../src/denoiser/three-stream/denoiser.ts';
import type { createEngine } from '../../../src/engine/create.ts';
import type { Engine, GenerateRequest } from '../../../src/engine/types.ts';
import { kernelModule } from '../../assembly/builds.ts';
import { readJson } from '../../denoiser/golden-files.ts';
import { run } from '../sample-engine.ts';

const DRAFT = '../../../src/engine/three-stream/draft.ts';
const folder = new URL('../../golden/shifted/', import.meta.url);
const config = readJson(new URL('config.json', folder)) as { diffusion: object };

/** An engine of the module that `create` is from. @param bias of the n-grams: the higher, the more they decide */
function open(create: typeof createEngine, bias: number): Promise<Engine> {
  const context_ngrams = { bias, length: 1, share: 1, count: 0.2 };
  return create({
    model: { id: 'shifted', created: 0 },
    kernels: { relaxed: kernelModule('relaxed'), simd: kernelModule('simd') },
    config: { ...config, diffusion: { ...config.diffusion, canvas_width: 1, context_ngrams } },
    tokenizer: readJson(new URL('tokenizer.json', folder)),
    openWeights: async () =>
      Readable.toWeb(createReadStream(new URL('model.safetensors', folder))) as ReadableStream<Uint8Array>,
    limits: { cacheBytes: 8 * 2 ** 20 },
  });
}

/** The module with its own classes. */
async function withoutDrafts() {
  vi.resetModules();
  vi.doMock(DRAFT, async (original) => ({ ...(await original<object>()), guessAfter: () => [] }));
  try {
    const { createEngine: create } = await import('../../../src/engine/create.ts');
    return { create, ...(await import('../../../src/denoiser/three-stream/denoiser.ts')) };
  } finally {
    vi.doUnmock(DRAFT);
    vi.resetModules();
  }
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
    plain = await open((await withoutDrafts()).create, bias);
    engine = await open((await import('../../../src/engine/create.ts')).createEngine, bias);
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

describe('a draft', () => {
  const passesOf = async (engine: Engine, request: Partial<GenerateRequest>, { prototype } = Denoiser) => {
    await run(engine, { ...request, maxTokens: 0 });
    const pass = vi.spyOn(prototype, 'pass');
    const { completion } = await run(engine, request);
    const views = pass.mock.calls.flatMap(([views]) => views);
    pass.mockRestore();
    return { passes: views.length, drafted: views.flatMap(({ draft = [] }) => draft).length, completion };
  };

  it('should save passes where the text goes on as it has before', async () => {
    const { createEngine } = await import('../../../src/engine/create.ts');
    const { passes, completion } = await passesOf(await open(createEngine, 9), repeated);
    expect(completion.usage.completionTokens).toBe(24);
    expect(passes).toBeLessThan(10);
    const { create, Denoiser: PlainDenoiser } = await withoutDrafts();
    const plain = await passesOf(await open(create, 9), repeated, PlainDenoiser as typeof Denoiser);
    expect(plain).toMatchObject({ drafted: 0, passes: completion.usage.steps });
  });

  it('should have no token that is not wanted', async () => {
    const { createEngine } = await import('../../../src/engine/create.ts');
    const engine = await open(createEngine, 9);
    expect((await passesOf(engine, { ...repeated, maxTokens: 1 })).drafted).toBe(0);
    expect((await passesOf(engine, { ...repeated, maxTokens: 3 })).drafted).toBeLessThanOrEqual(2);
    expect((await passesOf(engine, REQUESTS.at(-1)!)).drafted).toBeLessThan(6);
  });
});
