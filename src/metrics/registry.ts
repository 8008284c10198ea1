/**
 * Counters, gauges and histograms of one isolate. A snapshot of them can be added to those of other processes (sum.ts)
 * and is written in the text format of Prometheus: https://prometheus.io/docs/instrumenting/exposition_formats/
 */

export const CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

type Labels = Readonly<Record<string, string>>;

export interface Sample {
  /** The name of the metric, with the suffix that histograms add to it. */
  readonly name: string;
  readonly labels: Labels;
  readonly value: number;
}

/** A metric at one moment, as plain data. */
export interface MetricSnapshot {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  /**
   * Samples of processes that have the same name and labels are added; those of information, whose value is 1, are one.
   */
  readonly isInfo?: boolean;
  readonly samples: readonly Sample[];
}

interface Metric {
  snapshot(): MetricSnapshot;
}

/** The whole page. */
export function exposition(metrics: readonly MetricSnapshot[]): string {
  const lines = metrics.flatMap(({ name, help, type, samples }) => [
    `# HELP ${name} ${help}`,
    `# TYPE ${name} ${type}`,
    ...samples.map(line),
  ]);
  return `${lines.join('\n')}\n`;
}

export class Registry {
  readonly #metrics: Metric[] = [];

  counter(name: string, help: string): Counter {
    return this.#add(new Counter(name, help));
  }

  gauge(name: string, help: string, read: () => number): void {
    this.gauges(name, help, () => [{ labels: {}, value: read() }]);
  }

  /** A gauge with a value for each set of labels that `read` gives. */
  gauges(name: string, help: string, read: () => readonly Omit<Sample, 'name'>[]): void {
    const samples = () => read().map((sample) => ({ name, ...sample }));
    this.#add({ snapshot: () => ({ name, help, type: 'gauge', samples: samples() }) });
  }

  /** Gauges that are 1 and have their information in their labels. */
  info(name: string, help: string, read: () => readonly Labels[]): void {
    const samples = () => read().map((labels) => ({ name, labels, value: 1 }));
    this.#add({ snapshot: () => ({ name, help, type: 'gauge', isInfo: true, samples: samples() }) });
  }

  /** `bounds` are the upper bounds of the buckets, ascending; the last one, infinity, is added. */
  histogram(name: string, help: string, bounds: readonly number[]): Histogram {
    return this.#add(new Histogram(name, help, bounds));
  }

  snapshot(): MetricSnapshot[] {
    return this.#metrics.map((metric) => metric.snapshot());
  }

  text(): string {
    return exposition(this.snapshot());
  }

  #add<T extends Metric>(metric: T): T {
    this.#metrics.push(metric);
    return metric;
  }
}

export class Counter implements Metric {
  readonly name: string;
  readonly help: string;
  readonly #series = new Map<string, { labels: Labels; total: number }>();

  constructor(name: string, help: string) {
    this.name = name;
    this.help = help;
  }

  add(amount: number, labels: Labels = {}): void {
    const series = seriesOf(this.#series, labels, () => ({ labels, total: 0 }));
    series.total += amount;
  }

  snapshot(): MetricSnapshot {
    const { name, help } = this;
    const samples = [...this.#series.values()].map(({ labels, total }) => ({ name, labels, value: total }));
    return { name, help, type: 'counter', samples };
  }
}

interface Distribution {
  labels: Labels;
  /** Observations in each bucket separately; the cumulative sums of Prometheus are computed on read. */
  buckets: number[];
  sum: number;
}

export class Histogram implements Metric {
  readonly name: string;
  readonly help: string;
  readonly #bounds: readonly number[];
  readonly #series = new Map<string, Distribution>();

  constructor(name: string, help: string, bounds: readonly number[]) {
    this.name = name;
    this.help = help;
    this.#bounds = [...bounds, Number.POSITIVE_INFINITY];
  }

  observe(value: number, labels: Labels = {}): void {
    const series = seriesOf(this.#series, labels, () => ({ labels, buckets: this.#bounds.map(() => 0), sum: 0 }));
    series.buckets[this.#bounds.findIndex((bound) => value <= bound)]!++;
    series.sum += value;
  }

  snapshot(): MetricSnapshot {
    const { name, help } = this;
    const samples = [...this.#series.values()].flatMap(({ labels, buckets, sum }) => {
      let count = 0;
      const cumulative = buckets.map((inBucket, index) => {
        count += inBucket;
        return { name: `${name}_bucket`, labels: { ...labels, le: format(this.#bounds[index]!) }, value: count };
      });
      return [
        ...cumulative,
        { name: `${name}_sum`, labels, value: sum },
        { name: `${name}_count`, labels, value: count },
      ];
    });
    return { name, help, type: 'histogram', samples };
  }
}

function seriesOf<T>(series: Map<string, T>, labels: Labels, create: () => T): T {
  const key = JSON.stringify(labels);
  let found = series.get(key);
  if (found === undefined) {
    found = create();
    series.set(key, found);
  }
  return found;
}

function line({ name, labels, value }: Sample): string {
  const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escaped(text)}"`);
  return `${name}${pairs.length > 0 ? `{${pairs.join(',')}}` : ''} ${format(value)}`;
}

function format(value: number): string {
  return value === Number.POSITIVE_INFINITY ? '+Inf' : String(value);
}

function escaped(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}
