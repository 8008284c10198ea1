/** The metrics of processes that start and end, so that the sum of their counts never falls. */
import type { MetricSnapshot } from '../../src/metrics/registry.ts';
import { sumOf, withoutGauges } from '../../src/metrics/sum.ts';

/** A process that can be asked. */
export interface CountingProcess {
  /** Rejects when it does not answer. */
  metrics(): Promise<MetricSnapshot[]>;
}

export class ProcessMetrics {
  /** The last metrics of each running process. */
  readonly #last = new Map<CountingProcess, readonly MetricSnapshot[]>();
  readonly #hasEnded = new WeakSet<CountingProcess>();
  /** Counts of processes that have ended. */
  #ended: readonly MetricSnapshot[] = [];

  /** Asks every process. One that does not answer counts as in its last answer. */
  async collect(processes: readonly CountingProcess[]): Promise<MetricSnapshot[]> {
    const living = await Promise.all(processes.map((process) => this.#ask(process)));
    const silent = [...this.#last].filter(([process]) => !processes.includes(process));
    return sumOf([...living, ...silent.map(([, last]) => withoutGauges(last)), this.#ended]);
  }

  /** The process has ended; `metrics` are its last ones, if it sent them. */
  ended(process: CountingProcess, metrics = this.#last.get(process) ?? []): void {
    if (this.#hasEnded.has(process)) return;
    this.#hasEnded.add(process);
    this.#last.delete(process);
    this.#ended = sumOf([this.#ended, withoutGauges(metrics)]);
  }

  async #ask(process: CountingProcess): Promise<readonly MetricSnapshot[]> {
    try {
      const metrics = await process.metrics();
      // It may have ended since it was asked, and is counted there then.
      if (this.#hasEnded.has(process)) return [];
      this.#last.set(process, metrics);
      return metrics;
    } catch {
      return withoutGauges(this.#last.get(process) ?? []);
    }
  }
}
