import { expect, it } from 'vitest';
import relaxed from '../../build/kernels.relaxed.wasm';
import simd from '../../build/kernels.simd.wasm';
import { ONE_PAIR, run, SEVERAL_PAIRS, said, sampleEngine } from './sample-engine.ts';

const kernels = { relaxed, simd };

it('should answer concurrent requests inside the Workers runtime as it answers each alone', async () => {
  const requests = [{}, { suffix: '' }, { prefix: 'class A:\n'.repeat(9), temperature: 0.9, seed: 3 }];
  for (const cacheBytes of [ONE_PAIR, SEVERAL_PAIRS]) {
    const shared = await sampleEngine(kernels, cacheBytes);
    const together = await Promise.all(requests.map((changes) => run(shared, changes)));
    for (const [index, changes] of requests.entries()) {
      const alone = await run(await sampleEngine(kernels, ONE_PAIR), changes);
      expect(alone.completion.text).not.toBe('');
      expect(said(together[index]!.completion)).toEqual(said(alone.completion));
    }
  }
});

it('should notice an abort between steps inside the Workers runtime', async () => {
  const engine = await sampleEngine(kernels, ONE_PAIR);
  const controller = new AbortController();
  setTimeout(() => controller.abort(new Error('gone')), 0);
  await expect(run(engine, { temperature: 1, maxTokens: 80 }, controller.signal)).rejects.toThrow('gone');
});
