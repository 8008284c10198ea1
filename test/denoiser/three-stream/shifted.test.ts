/**
 * A shifted model with a forward suffix and without QK-norm against the quantized PyTorch reference, number by number
 * and completion by completion (training/export/golden.py --shifted).
 */

import { createReadStream } from 'node:fs';
import { Readable } from 'node:stream';
import { beforeAll, describe, expect, it } from 'vitest';
import { parseConfig } from '../../../src/denoiser/three-stream/config.ts';
import { Denoiser } from '../../../src/denoiser/three-stream/denoiser.ts';
import type { KvCache } from '../../../src/denoiser/three-stream/kv-cache.ts';
import { createEngine } from '../../../src/engine/create.ts';
import type { Completion, Engine, GenerateRequest } from '../../../src/engine/types.ts';
import { loadTokenizer } from '../../../src/tokenizer/tokenizer.ts';
import { BUILDS, kernelModule } from '../../assembly/builds.ts';
import { run } from '../../engine/sample-engine.ts';
import { modulesOf } from '../files.ts';
import { readFloatTensors, readJson, relativeError } from '../golden-files.ts';

interface GoldenCompletion {
  policy: 'everything' | 'service' | 'one' | 'four' | 'autoregressive';
  prefix: string;
  suffix: string;
  maxTokens: number;
  /** The characters before the cursor of the token at the cursor. */
  begun: string;
  /** Tokens that say something after the cursor. */
  ids: number[];
  logProbabilities: number[];
  text: string;
  ended: boolean;
  steps: number;
  slotEvaluations: number;
}

interface Golden {
  cases: { name: string; prefixIds: number[]; suffixIds: number[]; canvasIds: number[] }[];
  completions: GoldenCompletion[];
}

const folder = new URL('../../golden/shifted/', import.meta.url);
const golden: Golden = readJson(new URL('denoiser.json', folder));
const tensors = readFloatTensors(new URL('denoiser.safetensors', folder));
const configJson = readJson(new URL('config.json', folder));
const tokenizer = loadTokenizer(readJson(new URL('tokenizer.json', folder)));
const openWeights = async () =>
  Readable.toWeb(createReadStream(new URL('model.safetensors', folder))) as ReadableStream<Uint8Array>;

/** As in golden.test.ts: the effect on logits of one activation that rounds the other way. */
const TOLERANCE = 0.06;
/** Log-probabilities follow the logits. */
const PROBABILITY_TOLERANCE = 0.3;

const REQUESTS: Record<GoldenCompletion['policy'], Partial<GenerateRequest>> = {
  everything: { canvasWidth: 8, freezeAfter: Number.POSITIVE_INFINITY },
  service: {},
  one: { canvasWidth: 1 },
  four: { canvasWidth: 4 },
  autoregressive: { decoding: 'autoregressive', suffix: '' },
};

function expectClose(actual: readonly number[], name: string): void {
  const expected = tensors.get(name)!;
  const rows = actual.slice(-expected.length);
  expect(rows.length).toBe(expected.length);
  expect(relativeError(rows, expected), name).toBeLessThan(TOLERANCE);
}

describe.each(BUILDS)('shifted denoiser (%s)', (build) => {
  let denoiser: Denoiser;
  beforeAll(async () => {
    const config = parseConfig(configJson);
    denoiser = await Denoiser.load({ modules: modulesOf(build), config, openWeights, cacheBytes: 0 });
  });

  it.each(golden.cases)('should agree with the PyTorch reference on case $name', ({ name, ...streams }) => {
    const prefix = denoiser.prefixContexts[0]!;
    const suffix = denoiser.suffixContexts[0]!;
    compareContext(prefix, streams.prefixIds.slice(0, -1), `${name}.prefix`);
    if (streams.suffixIds.length > 0) compareContext(suffix, streams.suffixIds, `${name}.suffix`);

    const { canvasSlots } = denoiser.config.diffusion;
    const shown = streams.suffixIds.length > 0 ? suffix : undefined;
    const rows = [streams.prefixIds.at(-1)!, ...streams.canvasIds].slice(0, canvasSlots);
    const predictions = denoiser.evaluate(prefix, shown, rows, canvasSlots, (layer, hidden) =>
      expectClose(Array.from(hidden), `${name}.canvas.layer.${layer}`),
    );
    const slots = streams.canvasIds.length;
    const logits = [slots - 2, slots - 1].map((row) => Array.from(predictions.allLogits(row)));
    expectClose(logits.flat(), `${name}.canvas.logits`);
  });

  function compareContext(context: KvCache, ids: readonly number[], name: string): void {
    const layers: number[][] = Array.from({ length: denoiser.config.layers }, () => []);
    context.truncate(0);
    const predictions = denoiser.extendAndPredict(context, ids, (layer, hidden) => layers[layer]!.push(...hidden));
    const rows = [ids.length - 2, ids.length - 1].filter((row) => row >= 0);
    const logits = rows.map((row) => Array.from(predictions.allLogits(row)));
    for (const [layer, hidden] of layers.entries()) expectClose(hidden, `${name}.layer.${layer}`);
    expectClose(logits.flat(), `${name}.logits`);
  }
});

describe('shifted model', () => {
  let engine: Engine;
  const found = new Map<GoldenCompletion, Completion>();
  beforeAll(async () => {
    engine = await createEngine({
      model: { id: 'shifted', created: 0 },
      kernels: { relaxed: kernelModule('relaxed'), simd: kernelModule('simd') },
      config: configJson,
      tokenizer: readJson(new URL('tokenizer.json', folder)),
      openWeights,
    });
    for (const expected of golden.completions) found.set(expected, await complete(expected));
  });

  it('should come with completions of every kind that end within a token and that do not', () => {
    for (const policy of Object.keys(REQUESTS)) {
      const ofPolicy = golden.completions.filter((completion) => completion.policy === policy);
      expect(new Set(ofPolicy.map(({ begun }) => begun !== ''))).toContain(true);
    }
  });

  it.each(golden.completions)('should complete $prefix as the reference does ($policy)', (expected) => {
    const { text, usage, finishReason, tokens } = found.get(expected)!;
    expect(text).toBe(expected.text);
    expect(finishReason).toBe(expected.ended ? 'stop' : 'length');
    expect(usage).toMatchObject({ steps: expected.steps, slotEvaluations: expected.slotEvaluations });
    expect(usage.completionTokens).toBe(expected.ids.length);
    expect(tokens!.map((token) => token.text).join('')).toBe(text);
    for (const [at, { logProbability }] of tokens!.entries()) {
      expect(Math.abs(logProbability - expected.logProbabilities[at]!)).toBeLessThan(PROBABILITY_TOLERANCE);
    }
  });

  it('should count the tokens of the whole prompt', async () => {
    for (const expected of golden.completions.slice(0, 8)) {
      const { prefix, suffix } = { ...expected, ...REQUESTS[expected.policy] };
      const sides = [prefix, suffix].filter((side) => side !== '').map((side) => tokenizer.encode(side).length + 1);
      const promptTokens = sides.reduce((sum, count) => sum + count, 1); // and the token that begins a text
      expect(found.get(expected)!.usage.promptTokens).toBe(promptTokens);
    }
  });

  async function complete(expected: GoldenCompletion): Promise<Completion> {
    const { policy, prefix, suffix, maxTokens } = expected;
    return (await run(engine, { prefix, suffix, maxTokens, ...REQUESTS[policy] })).completion;
  }
});
