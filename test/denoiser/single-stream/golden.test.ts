/**
 * Converted checkpoints against what transformers computes with them under the same attention
 * (training/export/golden_checkpoints.py).
 */

import { describe, expect, it } from 'vitest';
import { parseSingleStreamConfig } from '../../../src/denoiser/single-stream/config.ts';
import { SingleStreamDenoiser, type Stream } from '../../../src/denoiser/single-stream/denoiser.ts';
import { createEngine } from '../../../src/engine/create.ts';
import { loadTokenizer } from '../../../src/tokenizer/tokenizer.ts';
import { BUILDS, kernelModule } from '../../assembly/builds.ts';
import { run } from '../../engine/sample-engine.ts';
import { modulesOf } from '../files.ts';
import { readFloatTensors, readJson, relativeError } from '../golden-files.ts';
import { type Attention, checkpoints, configOf, type Logits, weightsOf } from './checkpoints.ts';

interface Golden {
  block: number;
  streams: Record<string, number[]>;
  completions: {
    family: string;
    attention: Attention;
    logits: Logits;
    prefix: string;
    suffix: string;
    slots: number;
    canvas: number[];
  }[];
  texts: { text: string; ids: number[] }[];
}

const golden: Golden = readJson(new URL('qwen.json', checkpoints));
const tensors = readFloatTensors(new URL('logits.safetensors', checkpoints));
const FAMILIES = Object.keys(golden.streams);
const VARIANTS = FAMILIES.flatMap((family) =>
  (['bidirectional', 'block-causal'] as const).flatMap((attention) =>
    (['slot', 'shifted'] as const).map((logits) => ({ family, attention, logits })),
  ),
);

/**
 * Float additions in another order give 1e-6; an activation that falls on the other side of an int8 rounding boundary
 * is off by 1/127 of the largest of its row, and what follows by a few percent.
 */
const TOLERANCE = 0.04;
/** What 4 bits cost two random layers of 64: random weights have nothing that could be rounded well. */
const QUANTIZATION_TOLERANCE = 0.4;

/** Reads what can be read of the left side, and predicts all slots: (slots, vocabulary). */
function predict(denoiser: SingleStreamDenoiser, stream: Stream): number[] {
  while (denoiser.read(stream.left));
  const predictions = denoiser.evaluate(stream);
  expect(predictions.rows).toBe(stream.canvas.length);
  return Array.from({ length: predictions.rows }, (_, row) => Array.from(predictions.allLogits(row))).flat();
}

describe.each(BUILDS)('converted checkpoints (%s)', (build) => {
  it.each(VARIANTS)('should compute what transformers does: $family, $attention, $logits', async (variant) => {
    const { family, attention, logits } = variant;
    const json = configOf(family, attention, logits);
    const config = parseSingleStreamConfig(json);
    const modules = modulesOf(build);
    const denoiser = await SingleStreamDenoiser.load({ modules, config, openWeights: weightsOf(family) });
    const ids = golden.streams[family]!;
    const rowsOf = (name: string, first: number, count: number) => {
      const from = logits === 'shifted' ? first - 1 : first;
      return tensors.get(name)!.slice(from * json.vocab_size, (from + count) * json.vocab_size);
    };
    // A canvas in the middle of a block, one at its beginning, where shifted logits come from the block before, and the
    // same again.
    for (const left of [10, 2 * golden.block, 10]) {
      const end = attention === 'bidirectional' ? left + 5 : left + denoiser.canvasWidth(left);
      const right = attention === 'bidirectional' ? ids.slice(end) : [];
      const actual = predict(denoiser, { left: ids.slice(0, left), canvas: ids.slice(left, end), right });
      const expected = rowsOf(`${family}.${attention}.logits`, left, end - left);
      expect(relativeError(actual, expected)).toBeLessThan(TOLERANCE);
      const float = rowsOf(`${family}.${attention}.float_logits`, left, end - left);
      expect(relativeError(actual, float)).toBeLessThan(QUANTIZATION_TOLERANCE);
      // The attention is seen: under the other one the same rows are further off than any rounding.
      const other = attention === 'bidirectional' ? 'block-causal' : 'bidirectional';
      if (left < 2 * golden.block) {
        expect(relativeError(actual, rowsOf(`${family}.${other}.logits`, left, end - left))).toBeGreaterThan(
          2 * TOLERANCE,
        );
      }
    }
  });
});

describe('a single-stream denoiser', () => {
  const load = (attention: Attention, logits: Logits = 'slot') =>
    SingleStreamDenoiser.load({
      modules: modulesOf('relaxed'),
      config: parseSingleStreamConfig(configOf('qwen3', attention, logits)),
      openWeights: weightsOf('qwen3'),
    });
  const ids = golden.streams.qwen3!;

  it('should keep whole blocks of the context, and only as far as they are the same', async () => {
    const denoiser = await load('block-causal');
    const left = ids.slice(0, 20);
    while (denoiser.read(left));
    expect(denoiser.cachedLength(left)).toBe(16);
    expect(denoiser.cachedLength([...left, 1, 2, 3, 4])).toBe(16);
    expect(denoiser.cachedLength(left.with(9, 1))).toBe(8);
    expect(denoiser.cachedLength(left.slice(0, 15))).toBe(8);
  });

  it('should give the same bits from a cache and without one', async () => {
    const denoiser = await load('block-causal', 'shifted');
    const stream = { left: ids.slice(0, 18), canvas: ids.slice(18, 22), right: [] };
    const first = predict(denoiser, stream);
    predict(denoiser, { left: ids.slice(3, 12), canvas: ids.slice(12, 14), right: [] });
    const again = predict(denoiser, stream);
    expect(again).toEqual(first);
    expect(predict(denoiser, stream)).toEqual(first);
  });

  it('should keep nothing where every token sees the canvas', async () => {
    const denoiser = await load('bidirectional');
    expect(denoiser.read(ids)).toBe(false);
    expect(denoiser.cachedLength(ids)).toBe(0);
  });

  it('should end a canvas where its block ends', async () => {
    const denoiser = await load('block-causal');
    expect([8, 9, 15].map((length) => denoiser.canvasWidth(length))).toEqual([8, 7, 1]);
  });

  it('should refuse what it cannot compute', async () => {
    const denoiser = await load('block-causal');
    const evaluate = (stream: Stream) => () => denoiser.evaluate(stream);
    expect(evaluate({ left: ids.slice(0, 9), canvas: [1], right: [] })).toThrow('have not been read');
    expect(evaluate({ left: [1], canvas: [1], right: [1] })).toThrow('sees nothing on the right');
    expect(evaluate({ left: [], canvas: [1], right: [] })).toThrow('a token on the left');
    expect(evaluate({ left: Array(500).fill(1), canvas: [1], right: [] })).toThrow('positions');
  });
});

describe('the engine of converted checkpoints', () => {
  const engineOf = (family: string, attention: Attention, logits: Logits) =>
    createEngine({
      model: { id: family, created: 0 },
      kernels: { relaxed: kernelModule('relaxed'), simd: kernelModule('simd') },
      config: configOf(family, attention, logits),
      tokenizer: readJson(new URL(`${family}/tokenizer.json`, checkpoints)),
      openWeights: weightsOf(family),
    });
  const tokenizerOf = (family: string) => {
    const special = { mask: 0, eom: 0, pad: 0, prefix: 0, suffix: 0, endOfText: 0 };
    return loadTokenizer(readJson(new URL(`${family}/tokenizer.json`, checkpoints)), special);
  };

  // The plain reference also writes broken UTF-8 and control characters, which the sampler does not allow.
  const writable = golden.completions.filter(
    ({ family, canvas }) => !/[\ufffd\p{Cc}]/u.test(tokenizerOf(family).decode(canvas)),
  );

  it.each(writable)(
    'should fill a canvas as the reference does: $family, $attention, $logits, $prefix',
    async (expected) => {
      const { family, attention, logits, prefix, suffix, slots, canvas } = expected;
      const engine = await engineOf(family, attention, logits);
      const { completion, frames } = await run(engine, { prefix, suffix, maxTokens: slots });
      expect(completion.text).toBe(tokenizerOf(family).decode(canvas));
      expect(frames.length).toBeLessThanOrEqual(slots);
      expect(completion.usage.completionTokens).toBe(canvas.length);
    },
  );

  it('should go on block after block, and find the prompt in its cache', async () => {
    const engine = await engineOf('qwen3', 'block-causal', 'slot');
    const ask = () => run(engine, { prefix: 'def add(a, b):\n    return a + b\n', suffix: '', maxTokens: 20 });
    const { completion } = await ask();
    expect(completion.usage.completionTokens).toBe(20);
    const again = await ask();
    expect(again.completion.text).toBe(completion.text);
    expect(again.completion.usage.cachedTokens).toBeGreaterThan(completion.usage.cachedTokens);
  });

  it('should give the suffix, between its own markers, to a model that does not see the right', async () => {
    const engine = await engineOf('qwen3', 'block-causal', 'slot');
    await expect(run(engine, { prefix: 'a', suffix: 'b', maxTokens: 4 })).rejects.toThrow('sees nothing on the right');
    const json = configOf('qwen3', 'block-causal', 'slot');
    const marked = await createEngine({
      model: { id: 'marked', created: 0 },
      kernels: { relaxed: kernelModule('relaxed'), simd: kernelModule('simd') },
      config: { ...json, diffusion: { ...json.diffusion, fim_token_ids: { prefix: 508, suffix: 510, middle: 509 } } },
      tokenizer: readJson(new URL('qwen3/tokenizer.json', checkpoints)),
      openWeights: weightsOf('qwen3'),
    });
    const { completion } = await run(marked, { prefix: 'a', suffix: 'b', maxTokens: 4 });
    expect(completion.usage.promptTokens).toBe(5);
  });

  it('should refuse to decode from left to right', async () => {
    const engine = await engineOf('qwen2', 'bidirectional', 'slot');
    const left = run(engine, { prefix: 'a', suffix: '', maxTokens: 4, decoding: 'autoregressive' });
    await expect(left).rejects.toThrow('has not learned');
  });
});

describe("Qwen's tokenizer", () => {
  const special = { mask: 511, eom: 505, pad: -1, prefix: -1, suffix: -1, endOfText: 505 };
  const tokenizer = loadTokenizer(readJson(new URL('qwen2/tokenizer.json', checkpoints)), special);

  it.each(golden.texts)('should encode $text as the Rust library does', ({ text, ids }) => {
    expect(tokenizer.encode(text)).toEqual(ids);
    expect(tokenizer.decode(ids)).toBe(text.normalize('NFC'));
  });
});
