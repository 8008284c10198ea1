/**
 * Counters, gauges and histograms, written in the text format of Prometheus:
 * https://prometheus.io/docs/instrumenting/exposition_formats/
 * They count in the isolate they live in.
 */

export const CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

type Labels = Readonly<Record<string, string>>;

interface Metric {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  /** Lines of the metric, without help and type. */
  samples(): string[];
}

export class Registry {
  readonly #metrics: Metric[] = [];

  counter(name: string, help: string): Counter {
    return this.#add(new Counter(name, help));
  }

  gauge(name: string, help: string, read: () => number): void {
    this.#add({ name, help, type: 'gauge', samples: () => [sample(name, {}, read())] });
  }

  /** `bounds` are the upper bounds of the buckets, ascending; the last one, infinity, is added. */
  histogram(name: string, help: string, bounds: readonly number[]): Histogram {
    return this.#add(new Histogram(name, help, bounds));
  }

  /** The whole page. */
  text(): string {
    const lines = this.#metrics.flatMap((metric) => [
      `# HELP ${metric.name} ${metric.help}`,
      `# TYPE ${metric.name} ${metric.type}`,
      ...metric.samples(),
    ]);
    return `${lines.join('\n')}\n`;
  }

  #add<T extends Metric>(metric: T): T {
    this.#metrics.push(metric);
    return metric;
  }
}

export class Counter implements Metric {
  readonly type = 'counter';
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

  samples(): string[] {
    return [...this.#series.values()].map(({ labels, total }) => sample(this.name, labels, total));
  }
}

interface Distribution {
  labels: Labels;
  /** Observations in each bucket alone; the sums that Prometheus wants are made when they are read. */
  buckets: number[];
  sum: number;
}

export class Histogram implements Metric {
  readonly type = 'histogram';
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

  samples(): string[] {
    return [...this.#series.values()].flatMap(({ labels, buckets, sum }) => {
      let count = 0;
      const lines = buckets.map((inBucket, index) => {
        count += inBucket;
        return sample(`${this.name}_bucket`, { ...labels, le: format(this.#bounds[index]!) }, count);
      });
      return [...lines, sample(`${this.name}_sum`, labels, sum), sample(`${this.name}_count`, labels, count)];
    });
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

function sample(name: string, labels: Labels, value: number): string {
  const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escaped(text)}"`);
  return `${name}${pairs.length > 0 ? `{${pairs.join(',')}}` : ''} ${format(value)}`;
}

function format(value: number): string {
  return value === Number.POSITIVE_INFINITY ? '+Inf' : String(value);
}

function escaped(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}
