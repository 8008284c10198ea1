/**
 * The shipped model against vectors that the quantized PyTorch reference computed from the same files
 * (training/export/golden.py).
 */

import { createReadStream } from 'node:fs';
import { Readable } from 'node:stream';
import { beforeAll, describe, expect, it } from 'vitest';
import { parseConfig } from '../../../src/denoiser/three-stream/config.ts';
import { Denoiser } from '../../../src/denoiser/three-stream/denoiser.ts';
import type { KvCache } from '../../../src/denoiser/three-stream/kv-cache.ts';
import { createEngine } from '../../../src/engine/create.ts';
import type { Completion, Engine } from '../../../src/engine/types.ts';
import { loadTokenizer } from '../../../src/tokenizer/tokenizer.ts';
import { BUILDS, kernelModule } from '../../assembly/builds.ts';
import { run } from '../../engine/sample-engine.ts';
import { modulesOf } from '../files.ts';
import { readFloatTensors, readJson, relativeError } from '../golden-files.ts';

interface Golden {
  model: string;
  cases: { name: string; prefixIds: number[]; suffixIds: number[]; canvasIds: number[] }[];
  completions: GoldenCompletion[];
}

interface GoldenCompletion {
  /** What the reference left out: as the service does, or nothing. */
  policy: 'service' | 'everything';
  prefix: string;
  suffix: string;
  maxTokens: number;
  ids: number[];
  text: string;
  ended: boolean;
  steps: number;
  slotEvaluations: number;
}

const folder = new URL('../../golden/', import.meta.url);
const golden: Golden = readJson(new URL('denoiser.json', folder));
const texts: { text: string; ids: number[] }[] = readJson(new URL('tokenizer.json', folder));
const tensors = readFloatTensors(new URL('denoiser.safetensors', folder));
const model = new URL(`../../../models/${golden.model}/`, import.meta.url);
const openWeights = async () =>
  Readable.toWeb(createReadStream(new URL('model.safetensors', model))) as ReadableStream<Uint8Array>;

/**
 * Root-mean-square error over root-mean-square value. Float additions in another order give 1e-6; an activation that
 * falls on the other side of an int8 rounding boundary is off by 1/127 of the largest of its row, and so on, layer
 * after layer: noise of a millionth at the embeddings moves the logits of the reference itself by up to 4.4 %.
 */
const TOLERANCE = 0.06;
/**
 * Log-probability: the effect of such an error on logits of about ten. Tokens that are no further apart may be in
 * either order.
 */
const TIE = 0.3;
const ALTERNATIVES = 5;
/** A chunk that does not leave a single last token, for two rows of logits are compared. */
const CHUNK = 61;

function expectClose(actual: readonly number[], name: string): void {
  const expected = tensors.get(name)!;
  const rows = actual.slice(-expected.length);
  expect(rows.length).toBe(expected.length);
  expect(relativeError(rows, expected), name).toBeLessThan(TOLERANCE);
}

describe.each(BUILDS)('shipped denoiser (%s)', (build) => {
  let denoiser: Denoiser;
  beforeAll(async () => {
    const config = parseConfig(readJson(new URL('config.json', model)));
    denoiser = await Denoiser.load({ modules: modulesOf(build), config, openWeights, cacheBytes: 0 });
  });

  it.each(golden.cases)('should agree with the PyTorch reference on case $name', ({ name, ...streams }) => {
    const prefix = denoiser.prefixContexts[0]!;
    const suffix = denoiser.suffixContexts[0]!;
    compareContext(prefix, streams.prefixIds, `${name}.prefix`);
    if (streams.suffixIds.length > 0) compareContext(suffix, streams.suffixIds, `${name}.suffix`);

    const { canvasSlots } = denoiser.config.diffusion;
    const shown = streams.suffixIds.length > 0 ? suffix : undefined;
    const predictions = denoiser.evaluate(prefix, shown, streams.canvasIds, canvasSlots, (layer, hidden) =>
      expectClose(Array.from(hidden), `${name}.canvas.layer.${layer}`),
    );
    const logits = [predictions.rows - 2, predictions.rows - 1].map((row) => Array.from(predictions.allLogits(row)));
    expectClose(logits.flat(), `${name}.canvas.logits`);
  });

  function compareContext(context: KvCache, ids: readonly number[], name: string): void {
    const layers: number[][] = Array.from({ length: denoiser.config.layers }, () => []);
    context.truncate(0);
    let logits: number[][] = [];
    while (context.length < ids.length) {
      const chunk = ids.slice(context.length, context.length + CHUNK);
      const predictions = denoiser.extendAndPredict(context, chunk, (layer, hidden) => layers[layer]!.push(...hidden));
      const rows = [chunk.length - 2, chunk.length - 1].filter((row) => row >= 0);
      logits = rows.map((row) => Array.from(predictions.allLogits(row)));
    }
    for (const [layer, hidden] of layers.entries()) expectClose(hidden, `${name}.layer.${layer}`);
    expectClose(logits.flat(), `${name}.logits`);
  }
});

/** Slots of every canvas of a reference that leaves nothing out. */
const REFERENCE_WIDTH = parseConfig(readJson(new URL('config.json', model))).diffusion.canvasSlots;

const tokenizer = loadTokenizer(readJson(new URL('tokenizer.json', model)));

describe('shipped model', () => {
  const found = new Map<GoldenCompletion, Completion>();
  beforeAll(async () => {
    const engine = await createEngine({
      model: { id: golden.model, created: 0 },
      kernels: { relaxed: kernelModule('relaxed'), simd: kernelModule('simd') },
      config: readJson(new URL('config.json', model)),
      tokenizer: readJson(new URL('tokenizer.json', model)),
      openWeights,
    });
    for (const expected of golden.completions) found.set(expected, await complete(engine, expected));
  });

  it('should come with completions to compare', () => {
    expect(golden.completions.length).toBeGreaterThan(0);
  });

  it.each(golden.completions)('should complete $prefix as the reference does ($policy), but for ties', (expected) => {
    const completion = found.get(expected)!;
    if (completion.text !== expected.text) {
      expect(gapToReference(completion, expected)).toBeLessThan(TIE);
      return;
    }
    expect(completion.finishReason).toBe(expected.ended ? 'stop' : 'length');
    expect(completion.usage).toMatchObject({
      completionTokens: expected.ids.length,
      steps: expected.steps,
      slotEvaluations: expected.slotEvaluations,
    });
  });

  it('should find few ties: the others are the same to the step and the slot evaluation', () => {
    const same = golden.completions.filter((expected) => found.get(expected)!.text === expected.text);
    expect(same.length / golden.completions.length).toBeGreaterThan(2 / 3);
  });

  async function complete(engine: Engine, expected: GoldenCompletion): Promise<Completion> {
    const { policy, prefix, suffix, maxTokens } = expected;
    const everything = { canvasWidth: REFERENCE_WIDTH, freezeAfter: Number.POSITIVE_INFINITY };
    const request = { prefix, suffix, maxTokens, alternatives: ALTERNATIVES };
    return (await run(engine, { ...request, ...(policy === 'everything' && everything) })).completion;
  }

  /**
   * By how much the runtime prefers its own token to that of the reference, in log-probability, where they first
   * differ.
   */
  function gapToReference({ tokens = [] }: Completion, { ids, ended }: GoldenCompletion): number {
    const wanted = ids.map((id) => tokenizer.decode([id]));
    const place = tokens.findIndex(({ text }, index) => text !== wanted[index]);
    if (place < 0) return Number.POSITIVE_INFINITY; // it ended earlier: the end has no place of its own, nothing says how close it was
    const name = wanted[place] ?? (ended ? '<|eom|>' : '');
    const other = tokens[place]!.alternatives!.find((alternative) => alternative.name === name);
    return tokens[place]!.logProbability - (other?.logProbability ?? Number.NEGATIVE_INFINITY);
  }
});

describe('shipped tokenizer', () => {
  it.each(texts)('should encode $text as the Rust library does', ({ text, ids }) => {
    expect(tokenizer.encode(text)).toEqual(ids);
    expect(tokenizer.decode(ids)).toBe(text);
  });
});
