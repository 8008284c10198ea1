/** The service as it is run: plain workerd behind `scripts/serve.ts`, on a free port of this machine, and what its processes use. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '../..');
const START_TIMEOUT_MS = 120_000;

/** `sysconf(_SC_CLK_TCK)` of Linux, for what /proc counts in ticks. */
const TICKS_PER_SECOND = 100;

export interface RunningService {
  url: string;
  usage(): ProcessUsage;
  stop(): Promise<void>;
}

/** Of all workerd processes together. */
export interface ProcessUsage {
  /** Seconds of processor time since they began. */
  cpuSeconds: number;
  /** Resident memory. */
  bytes: number;
}

/** Starts the service with the bundled model and waits until it is ready. Rejects with its output. */
export async function startService(): Promise<RunningService> {
  const port = await freePort();
  const child = spawn(process.execPath, ['scripts/serve.ts', '--port', String(port), '--drain-seconds', '1'], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (bytes: Buffer) => {
      output += bytes;
    });
  }
  const url = `http://127.0.0.1:${port}`;
  const givenUpMs = Date.now() + START_TIMEOUT_MS;
  while (!(await fetch(`${url}/ready`).catch(() => undefined))?.ok) {
    if (child.exitCode !== null || Date.now() > givenUpMs) throw new Error(`the service does not answer:\n${output}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return { url, usage: () => usageOf(child), stop: () => stop(child) };
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  await exited;
}

function usageOf({ pid }: ChildProcess): ProcessUsage {
  const pids = descendants(pid!).filter((id) => readFileSync(`/proc/${id}/comm`, 'utf8').startsWith('workerd'));
  if (pids.length === 0) throw new Error('no workerd process is running');
  const ticks = pids.map((id) => {
    // Behind the name in parentheses; fields 14 and 15 are user and system time.
    const fields = readFileSync(`/proc/${id}/stat`, 'utf8').split(') ')[1]!.split(' ');
    return Number(fields[11]) + Number(fields[12]);
  });
  const kibibytes = pids.map((id) =>
    Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${id}/status`, 'utf8'))![1]),
  );
  return { cpuSeconds: sum(ticks) / TICKS_PER_SECOND, bytes: sum(kibibytes) * 1024 };
}

function descendants(pid: number): number[] {
  const children = new Map<number, number[]>();
  for (const entry of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const parent = Number(/^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${entry}/status`, 'utf8'))![1]);
      children.set(parent, [...(children.get(parent) ?? []), Number(entry)]);
    } catch {
      // It has ended meanwhile.
    }
  }
  const of = (id: number): number[] => (children.get(id) ?? []).flatMap((child) => [child, ...of(child)]);
  return of(pid);
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
