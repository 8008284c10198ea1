/**
 * The service under load: clients that type, more requests than it can serve, and memory over thousands of requests.
 * The service runs on the same machine, in one process of plain workerd, and is reached over loopback.
 *
 * Run: `npm run bench:load`, or `node bench/service/load/index.ts [seconds of typing] [requests for memory] [model]`
 * after `npm run build:worker` and `npm ci --prefix bench` (Linux, Node 24 or later; needs the npm registry the first
 * time). Prints tables, then a line of JSON.
 */

import { availableParallelism, loadavg } from 'node:os';
import { QUICK_MODEL } from '../../../support/serving.ts';
import { table } from '../../table.ts';
import { CLIENTS, type LevelRow, runLevel } from './levels.ts';
import { type FloodResult, flood, type MemoryResult, memoryOver } from './saturation.ts';
import { startService } from './service.ts';

const SECONDS = 30;
const MEMORY_REQUESTS = 10_000;

/** Warm-up, not counted: the model loads, and the optimizing compiler replaces the first code. */
const WARM_UP = { clients: 4, seconds: 8 };

const [typing = SECONDS, asked = MEMORY_REQUESTS, model = QUICK_MODEL] = process.argv.slice(2);
const [seconds, requests] = [Number(typing), Number(asked)];

const service = await startService(model);
try {
  await runLevel(service, WARM_UP.clients, WARM_UP.seconds);
  const levels: LevelRow[] = [];
  for (const clients of CLIENTS) levels.push(await runLevel(service, clients, seconds));
  console.log(`${formatLevels(levels)}\n`);
  const flooded = await flood(service);
  console.log(`${formatFlood(flooded)}\n`);
  const memory = await memoryOver(service, requests);
  console.log(`${formatMemory(memory)}\n`);
  const machine = { processors: availableParallelism(), load: loadavg()[0] };
  console.log(JSON.stringify({ node: process.version, machine, levels, flood: flooded, memory }));
} finally {
  await service.stop();
}

function formatLevels(rows: readonly LevelRow[]): string {
  return table(
    rows.map((row) => ({
      clients: row.clients,
      keys: row.keys,
      answered: row.answered,
      'given up': row.givenUp,
      refused: row.refused,
      failed: row.failed,
      'completions/s': row.completionsPerSecond.toFixed(1),
      'p50 ms': row.p50Ms.toFixed(0),
      'p95 ms': row.p95Ms.toFixed(0),
      'p99 ms': row.p99Ms.toFixed(0),
      'CPU ms/answer': row.cpuMsPerAnswer.toFixed(1),
      processor: `${(100 * row.processor).toFixed(0)} %`,
      'answers a client': `${row.fewestAnswers}–${row.mostAnswers}`,
      fairness: row.fairness.toFixed(3),
      'longest without, s': (row.longestWithoutMs / 1000).toFixed(1),
    })),
  );
}

function formatFlood(result: FloodResult): string {
  return table([
    {
      connections: result.connections,
      seconds: result.seconds.toFixed(1),
      answered: result.answered,
      'p50 ms': result.answeredP50Ms.toFixed(0),
      'p99 ms': result.answeredP99Ms.toFixed(0),
      '503': result.refused,
      'with retry-after': result.refusedWithRetryAfter,
      '503: p99 ms': result.refusedP99Ms.toFixed(0),
      'anything else': result.otherwise,
      'recovered, s': (result.recoveredMs / 1000).toFixed(1),
    },
  ]);
}

function formatMemory(result: MemoryResult): string {
  return table([
    {
      requests: result.requests,
      failed: result.failed,
      'requests/s': result.requestsPerSecond.toFixed(1),
      'CPU ms/request': result.cpuMsPerRequest.toFixed(1),
      'start MiB': result.startMib.toFixed(1),
      warm: result.warmMib.toFixed(1),
      peak: result.peakMib.toFixed(1),
      end: result.endMib.toFixed(1),
      'slope, KiB/1,000 requests': `${result.slopeKib.toFixed(0)} ± ${result.slopeInterval.toFixed(0)}`,
    },
  ]);
}
