import { describe, expect, it } from 'vitest';
import type { Denoiser } from '../../../src/denoiser/three-stream/denoiser.ts';
import type { KvCache } from '../../../src/denoiser/three-stream/kv-cache.ts';
import type { Predictions } from '../../../src/denoiser/transformer/predictions.ts';
import { decodeAutoregressive } from '../../../support/autoregressive-decoding.ts';
import { BUILDS } from '../../assembly/builds.ts';
import { specialTokens } from '../../tokenizer/sample-tokenizer.ts';
import { loadModel } from '../files.ts';
import { randomIds, randomModel } from '../random-model.ts';
import { referenceCanvas, referenceContext, referenceLogits, type StreamStates } from './reference.ts';

const model = randomModel(1);
const { canvasSlots } = model.config.diffusion;

/**
 * Root-mean-square error over root-mean-square value. Rounding gives 2e-7. But about one number in 50,000 that is
 * quantized falls on different sides of a rounding boundary in float32 and float64: it is then off by 1/127 (queries,
 * keys: 1/63) of the largest of its row, and what follows by up to 1 %. Long streams have such accidents; of three
 * short ones at most one does.
 */
const ROUNDING_TOLERANCE = 1e-5;
const ACCIDENT_TOLERANCE = 0.02;
const SHORT_TOKENS = 12;
const SEEDS = [1, 2, 3];

function expectSmall(errors: readonly number[], tokens: number): void {
  const [, median, largest] = errors.toSorted((a, b) => a - b);
  expect(largest).toBeLessThan(ACCIDENT_TOLERANCE);
  if (tokens < SHORT_TOKENS) expect(median).toBeLessThan(ROUNDING_TOLERANCE);
}

function relativeError(actual: ArrayLike<number>, expected: Float64Array[]): number {
  const flat = expected.flatMap((row) => Array.from(row));
  expect(actual.length).toBe(flat.length);
  const squares = (values: number[]) => values.reduce((sum, value) => sum + value * value, 0);
  return Math.sqrt(squares(flat.map((value, i) => value - actual[i]!)) / squares(flat));
}

/** Everything a step says, copied. */
function snapshot(predictions: Predictions) {
  const { rows, ids, logits, logSumExp } = predictions;
  const all = Array.from({ length: rows }, (_, row) => Array.from(predictions.allLogits(row)));
  return { ids: Array.from(ids), logits: Array.from(logits), logSumExp: Array.from(logSumExp), all };
}

function fill(denoiser: Denoiser, context: KvCache, ids: readonly number[], chunk: number): KvCache {
  context.truncate(context.matchLength(ids));
  while (context.length < ids.length) denoiser.extend(context, ids.slice(context.length, context.length + chunk));
  return context;
}

describe.each(BUILDS)('Denoiser (%s)', async (build) => {
  const denoiser = await loadModel(model, build);
  const prefix = denoiser.prefixContexts[0]!;
  const suffix = denoiser.suffixContexts[0]!;

  it('should run on the build it was given', () => {
    expect(denoiser.build).toBe(build);
  });

  it.each([1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33, 64])(
    'should agree with the reference on streams of %i tokens',
    (n) => {
      for (const [context, sign] of [
        [prefix, 1],
        [suffix, -1],
      ] as const) {
        const errors = SEEDS.map((seed) => {
          const ids = randomIds(100 * n + seed, n);
          const expected = referenceContext(model, ids, sign);
          const layerErrors: number[] = [];
          context.truncate(0);
          denoiser.extend(context, ids, (layer, hidden) => {
            layerErrors.push(relativeError(hidden, expected.hidden[layer]!));
          });
          expect(layerErrors).toHaveLength(model.config.layers);
          expect(Array.from(context.tokens)).toEqual(ids);
          return Math.max(...layerErrors);
        });
        expectSmall(errors, n);
      }
    },
  );

  it.each([
    [1, 0, 1, 12],
    [1, 1, 12, 12],
    [7, 3, 5, 12],
    [8, 8, 7, 8],
    [2, 5, 3, 4],
    [70, 0, 12, 12],
    [65, 41, 12, 12],
    [33, 80, 3, 5],
  ])(
    'should agree with the reference on a canvas after %i and before %i tokens with %i of %i slots',
    (p, s, live, width) => {
      const errors = SEEDS.map((seed) => {
        const [prefixIds, suffixIds, canvasIds] = [
          randomIds(seed, p),
          randomIds(10 * seed, s),
          randomIds(100 * seed, live),
        ];
        canvasIds[0] = specialTokens.mask;
        const prefixStates = referenceContext(model, prefixIds, 1);
        const suffixStates: StreamStates | undefined = s > 0 ? referenceContext(model, suffixIds, -1) : undefined;
        const hidden = referenceCanvas(model, canvasIds, width, prefixStates, suffixStates);
        fill(denoiser, prefix, prefixIds, 64);
        fill(denoiser, suffix, suffixIds, 64);
        const layerErrors: number[] = [];
        const predictions = denoiser.evaluate(prefix, s > 0 ? suffix : undefined, canvasIds, width, (layer, actual) => {
          layerErrors.push(relativeError(actual, hidden[layer]!));
        });
        expect(layerErrors).toHaveLength(model.config.layers);
        expect(predictions.rows).toBe(live);
        const { all } = snapshot(predictions);
        return Math.max(...layerErrors, relativeError(all.flat(), referenceLogits(model, hidden.at(-1)!)));
      });
      expectSmall(errors, p + s + live);
    },
  );

  it('should name the largest logits and log-sum-exp of all of them', () => {
    fill(denoiser, prefix, randomIds(4, 30), 64);
    const predictions = denoiser.evaluate(prefix, undefined, randomIds(5, canvasSlots), canvasSlots);
    const { candidates } = predictions;
    const { all, ids, logits, logSumExp } = snapshot(predictions);
    for (const [row, rowLogits] of all.entries()) {
      const order = [...rowLogits.keys()].sort((a, b) => rowLogits[b]! - rowLogits[a]! || a - b);
      const best = order.slice(0, candidates);
      expect(ids.slice(row * candidates, (row + 1) * candidates)).toEqual(best);
      expect(logits.slice(row * candidates, (row + 1) * candidates)).toEqual(best.map((id) => rowLogits[id]));
      expect(logSumExp[row]).toBeCloseTo(Math.log(rowLogits.reduce((sum, logit) => sum + Math.exp(logit), 0)), 4);
    }
  });

  it('should give the same bits however a context was split into calls', () => {
    const [prefixIds, suffixIds, canvasIds] = [randomIds(5, 131), randomIds(6, 77), randomIds(7, canvasSlots)];
    const results = [1, 2, 3, 5, 17, 64].map((chunk) => {
      prefix.truncate(0);
      suffix.truncate(0);
      fill(denoiser, prefix, prefixIds, chunk);
      fill(denoiser, suffix, suffixIds, chunk);
      return snapshot(denoiser.evaluate(prefix, suffix, canvasIds, canvasSlots));
    });
    prefix.truncate(0);
    for (const id of prefixIds) denoiser.extendAndPredict(prefix, [id]);
    results.push(snapshot(denoiser.evaluate(prefix, suffix, canvasIds, canvasSlots)));
    for (const result of results) expect(result).toEqual(results[0]);
  });

  it('should give the same bits from a context that was used for something else before', () => {
    const [common, before, now] = [randomIds(8, 40), randomIds(9, 60), randomIds(10, 21)];
    const canvasIds = randomIds(11, canvasSlots);
    prefix.truncate(0);
    fill(denoiser, prefix, [...common, ...now], 64);
    const fresh = snapshot(denoiser.evaluate(prefix, undefined, canvasIds, canvasSlots));
    prefix.truncate(0);
    fill(denoiser, prefix, [...common, ...before], 64);
    fill(denoiser, prefix, [...common, ...now], 64);
    expect(snapshot(denoiser.evaluate(prefix, undefined, canvasIds, canvasSlots))).toEqual(fresh);
  });

  it('should not let a context see a canvas that was evaluated after it', () => {
    const [first, second, canvasIds] = [randomIds(12, 30), randomIds(13, 9), randomIds(14, canvasSlots)];
    prefix.truncate(0);
    fill(denoiser, prefix, [...first, ...second], 64);
    const without = snapshot(denoiser.evaluate(prefix, undefined, canvasIds, canvasSlots));
    prefix.truncate(0);
    fill(denoiser, prefix, first, 64);
    denoiser.evaluate(prefix, undefined, randomIds(15, canvasSlots), canvasSlots);
    expect(prefix.length).toBe(first.length);
    fill(denoiser, prefix, [...first, ...second], 64);
    expect(snapshot(denoiser.evaluate(prefix, undefined, canvasIds, canvasSlots))).toEqual(without);
  });

  it('should not let live slots see dropped ones', () => {
    fill(denoiser, prefix, randomIds(16, 20), 64);
    const ids = randomIds(17, canvasSlots);
    denoiser.evaluate(prefix, undefined, ids, canvasSlots);
    const dropped = snapshot(denoiser.evaluate(prefix, undefined, ids.slice(0, 5), canvasSlots));
    prefix.truncate(0);
    fill(denoiser, prefix, randomIds(16, 20), 64);
    expect(snapshot(denoiser.evaluate(prefix, undefined, ids.slice(0, 5), canvasSlots))).toEqual(dropped);
  });

  it('should decode greedily as the reference does', () => {
    const prompt = randomIds(18, 27);
    const tokens = decodeAutoregressive(denoiser, prefix, prompt, 6, specialTokens);
    const expected = [...prompt];
    const { endOfText: _, ...refused } = specialTokens;
    for (let i = 0; i < 6; i++) {
      const hidden = referenceContext(model, expected, 1).hidden.at(-1)!;
      const logits = referenceLogits(model, hidden.slice(-1))[0]!;
      for (const token of Object.values(refused)) logits[token] = Number.NEGATIVE_INFINITY;
      expected.push(logits.indexOf(logits.reduce((a, b) => Math.max(a, b))));
    }
    expect(tokens).toEqual(expected.slice(prompt.length));
  });

  it('should refuse more tokens than fit and predictions of an earlier pass', () => {
    fill(denoiser, prefix, randomIds(19, 10), 64);
    const old = denoiser.evaluate(prefix, undefined, randomIds(20, canvasSlots), canvasSlots);
    denoiser.extend(prefix, randomIds(21, 1));
    expect(() => old.allLogits(0)).toThrow('earlier pass');
    expect(() => denoiser.extend(prefix, [])).toThrow(RangeError);
    expect(() => denoiser.extend(prefix, randomIds(22, 65))).toThrow(RangeError);
    fill(denoiser, prefix, randomIds(23, prefix.capacity - canvasSlots + 1), 64);
    expect(() => denoiser.evaluate(prefix, undefined, randomIds(24, canvasSlots), canvasSlots)).toThrow(RangeError);
  });
});

it('should copy a context', async () => {
  const denoiser = await loadModel(model, 'relaxed', 4 * 2 ** 20);
  const [a, b] = denoiser.prefixContexts;
  const [ids, canvasIds] = [randomIds(25, 75), randomIds(26, canvasSlots)];
  fill(denoiser, a!, ids, 64);
  b!.shareFrom(a!, 43);
  expect(Array.from(b!.tokens)).toEqual(ids.slice(0, 43));
  fill(denoiser, b!, ids, 64);
  expect(snapshot(denoiser.evaluate(b!, undefined, canvasIds, canvasSlots))).toEqual(
    snapshot(denoiser.evaluate(a!, undefined, canvasIds, canvasSlots)),
  );
});
