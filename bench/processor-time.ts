/** Processor time in milliseconds, that of user and system together: of this process, and of others. */

import { readFileSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';

/** Unit of the times in /proc/PID/stat: `sysconf(_SC_CLK_TCK)` is 100 a second on Linux. */
const TICK_MS = 10;

/** Milliseconds that this process has used so far. */
export function processorMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** Milliseconds of work that is not asynchronous: nothing is awaited while it is timed. */
export function processorMsOf(work: () => void): number {
  const startMs = processorMs();
  work();
  return processorMs() - startMs;
}

/** Work that may be asynchronous: its result, and the milliseconds of the process until it was there. */
export async function withProcessorMs<T>(work: () => Promise<T> | T): Promise<[result: T, ms: number]> {
  const startMs = processorMs();
  const result = await work();
  return [result, processorMs() - startMs];
}

/**
 * Milliseconds that another process has used since its start, in steps of 10. Threads that have ended count, which is
 * why this does not read the finer schedstat.
 */
export function processorMsOfProcess(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The fields after the name in parentheses; 14 and 15 of all are user and system time.
  const fields = stat.slice(stat.lastIndexOf(') ') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}

/**
 * Milliseconds that the threads of another process have used, in steps of a nanosecond: the first field of schedstat. A
 * thread that ends takes its time along, so this is only for short pieces of work of a process whose threads stay.
 */
export async function processorMsOfThreads(pid: number): Promise<number> {
  const threads = await readdir(`/proc/${pid}/task`);
  const times = await Promise.all(
    threads.map(async (thread) =>
      Number((await readFile(`/proc/${pid}/task/${thread}/schedstat`, 'utf8')).split(' ')[0]),
    ),
  );
  return times.reduce((sum, time) => sum + time, 0) / 1e6;
}
