/** The metrics of several processes as those of one service. */
import type { MetricSnapshot, Sample } from './registry.ts';

/** Adds the counts of the processes. Metrics and series are in the order of their first occurrence. */
export function sumOf(processes: readonly (readonly MetricSnapshot[])[]): MetricSnapshot[] {
  const sums = new Map<string, { metric: MetricSnapshot; samples: Map<string, Sample> }>();
  for (const metric of processes.flat()) {
    const sum = sums.get(metric.name) ?? { metric, samples: new Map() };
    sums.set(metric.name, sum);
    for (const sample of metric.samples) {
      const key = JSON.stringify([sample.name, sample.labels]);
      const before = metric.isInfo ? 0 : (sum.samples.get(key)?.value ?? 0);
      sum.samples.set(key, { ...sample, value: before + sample.value });
    }
  }
  return [...sums.values()].map(({ metric, samples }) => ({ ...metric, samples: [...samples.values()] }));
}

/** What stays of a process that has ended: its counts. What it was doing just then is over. */
export function withoutGauges(metrics: readonly MetricSnapshot[]): MetricSnapshot[] {
  return metrics.filter(({ type }) => type !== 'gauge');
}
