/**
 * The service as deployed: plain workerd started by `scripts/serve.ts` on a free port, and the usage of its processes.
 */

import { readdirSync, readFileSync } from 'node:fs';
import { start } from '../../../support/serving.ts';
import { processorMsOfProcess } from '../../processor-time.ts';

/** Long enough for the answers in progress, for which no client waits. */
const DRAIN_SECONDS = 1;

export interface RunningService {
  url: string;
  usage(): ProcessUsage;
  stop(): Promise<void>;
}

/** Of all workerd processes together. */
export interface ProcessUsage {
  /** Seconds of processor time since their start. */
  cpuSeconds: number;
  /** Resident memory. */
  bytes: number;
}

/** Starts the service with one bundled model. Rejects with its output when it does not start. */
export async function startService(model: string): Promise<RunningService> {
  const options = ['--port', '0', '--drain-seconds', String(DRAIN_SECONDS)];
  const program = await start('serve.ts', options, { MODEL: model });
  const [url] = /http:\/\/\S+/.exec(program.output())!;
  return { url, usage: () => usageOf(program.pid), stop: program.stop };
}

function usageOf(pid: number): ProcessUsage {
  const pids = descendants(pid).filter((id) => readFileSync(`/proc/${id}/comm`, 'utf8').startsWith('workerd'));
  if (pids.length === 0) throw new Error('no workerd process is running');
  const kibibytes = pids.map((id) =>
    Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${id}/status`, 'utf8'))![1]),
  );
  return { cpuSeconds: sum(pids.map(processorMsOfProcess)) / 1000, bytes: sum(kibibytes) * 1024 };
}

function descendants(pid: number): number[] {
  const children = new Map<number, number[]>();
  for (const entry of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const parent = Number(/^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${entry}/status`, 'utf8'))![1]);
      children.set(parent, [...(children.get(parent) ?? []), Number(entry)]);
    } catch {
      // The process has ended meanwhile.
    }
  }
  const of = (id: number): number[] => (children.get(id) ?? []).flatMap((child) => [child, ...of(child)]);
  return of(pid);
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
