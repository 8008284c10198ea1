import { describe, expect, it } from 'vitest';
import { type CountingProcess, ProcessMetrics } from '../../scripts/serve/process-metrics.ts';
import type { MetricSnapshot } from '../../src/metrics/registry.ts';

/** A process that has counted `value`, or that does not answer where that is undefined. */
function processWith(value: number | undefined): CountingProcess & { value: number | undefined } {
  return {
    value,
    async metrics() {
      if (this.value === undefined) throw new Error('no answer');
      return [counted(this.value)];
    },
  };
}

function counted(value: number): MetricSnapshot {
  return { name: 'cats_total', help: '', type: 'counter', samples: [{ name: 'cats_total', labels: {}, value }] };
}

const catsOf = ([metric]: MetricSnapshot[]) => metric?.samples[0]?.value;

describe('metrics of processes', () => {
  it('should not fall when a process is silent, dies, or tells its last', async () => {
    const metrics = new ProcessMetrics();
    const [first, second] = [processWith(3), processWith(4)];
    expect(catsOf(await metrics.collect([first, second]))).toBe(7);
    first.value = undefined;
    expect(catsOf(await metrics.collect([first, second]))).toBe(7);
    // It has ended, and its last metrics have not arrived yet.
    expect(catsOf(await metrics.collect([second]))).toBe(7);
    metrics.ended(first, [counted(5)]);
    metrics.ended(first);
    expect(catsOf(await metrics.collect([second]))).toBe(9);
    metrics.ended(second);
    expect(catsOf(await metrics.collect([]))).toBe(9);
  });

  it('should count once a process that ends while it answers', async () => {
    const metrics = new ProcessMetrics();
    const answer = Promise.withResolvers<MetricSnapshot[]>();
    const process = { metrics: () => answer.promise };
    const collected = metrics.collect([process]);
    metrics.ended(process, [counted(2)]);
    answer.resolve([counted(2)]);
    expect(catsOf(await collected)).toBe(2);
    expect(catsOf(await metrics.collect([]))).toBe(2);
  });
});
