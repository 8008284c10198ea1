/** Overload by autocannon: refusals when the queue is full, and memory over thousands of requests. */

import autocannon from 'autocannon';
import type { KeyStroke } from '../../model/typing.ts';
import { quantileOrZero, recordClients } from './levels.ts';
import type { RunningService } from './service.ts';

/** More than are served and may wait (MAX_WAITING is 64 by default), so that some are refused at any time. */
const FLOOD_CONNECTIONS = 160;
const FLOOD_SECONDS = 10;

/** The editors of a small office, each always with one active request. */
const STEADY_CONNECTIONS = 8;
/** Few, so that thousands of requests finish. */
const STEADY_TOKENS = 4;
const SAMPLES = 200;

/** The first requests fill caches and give the optimizing compiler time. */
const WARM_UP_SHARE = 0.2;

/** Seconds; a request that waits longer hangs. */
const TIMEOUT = 60;

const ASK_AGAIN_MS = 100;

const MIB = 2 ** 20;

export interface FloodResult {
  connections: number;
  seconds: number;
  answered: number;
  refused: number;
  /** Refusals with a Retry-After header. */
  refusedWithRetryAfter: number;
  otherwise: number;
  /** Milliseconds to an answer: limited, because the queue is. */
  answeredP50Ms: number;
  answeredP99Ms: number;
  /** Milliseconds to a refusal. */
  refusedP99Ms: number;
  /**
   * Milliseconds until a request after the flood is answered. Requests without streaming whose clients have gone are
   * still in the queue, because workerd is not told.
   */
  recoveredMs: number;
}

/** Keeps many more connections busy than the queue has places. */
export async function flood(service: RunningService): Promise<FloodResult> {
  const answeredMs: number[] = [];
  const refusedMs: number[] = [];
  let withRetryAfter = 0;
  let otherwise = 0;
  const run = autocannon({
    url: service.url,
    connections: FLOOD_CONNECTIONS,
    duration: FLOOD_SECONDS,
    timeout: TIMEOUT,
    requests: requestsOf(recordClients(8).flat(), 16),
    setupClient(client) {
      client.on('headers', ({ statusCode, headers }) => {
        if (statusCode === 503 && headers.some((name) => /^retry-after$/i.test(name))) withRetryAfter++;
      });
    },
  });
  run.on('response', (_, status, _bytes, ms) => {
    if (status === 200) answeredMs.push(ms);
    else if (status === 503) refusedMs.push(ms);
    else otherwise++;
  });
  const { duration, errors, timeouts } = await run;
  return {
    connections: FLOOD_CONNECTIONS,
    seconds: duration,
    answered: answeredMs.length,
    refused: refusedMs.length,
    refusedWithRetryAfter: withRetryAfter,
    otherwise: otherwise + errors + timeouts,
    answeredP50Ms: quantileOrZero(answeredMs, 0.5),
    answeredP99Ms: quantileOrZero(answeredMs, 0.99),
    refusedP99Ms: quantileOrZero(refusedMs, 0.99),
    recoveredMs: await untilAnswered(service),
  };
}

export interface MemoryResult {
  requests: number;
  failed: number;
  seconds: number;
  requestsPerSecond: number;
  cpuMsPerRequest: number;
  /** Resident memory of workerd before the first request, after the warm-up, at its peak and at the end. */
  startMib: number;
  warmMib: number;
  peakMib: number;
  endMib: number;
  /** Slope of the least-squares line after the warm-up, in KiB per 1,000 requests, and half of its 95 % interval. */
  slopeKib: number;
  slopeInterval: number;
}

/** Sends `requests` requests of typing clients and watches the memory. */
export async function memoryOver(service: RunningService, requests: number): Promise<MemoryResult> {
  const { bytes: startBytes, cpuSeconds } = service.usage();
  const samples: { done: number; bytes: number }[] = [];
  let done = 0;
  const run = autocannon({
    url: service.url,
    connections: STEADY_CONNECTIONS,
    amount: requests,
    timeout: TIMEOUT,
    requests: requestsOf(recordClients(32).flat(), STEADY_TOKENS),
  });
  run.on('response', () => {
    done++;
    if (done % Math.ceil(requests / SAMPLES) === 0) samples.push({ done, bytes: service.usage().bytes });
  });
  const { duration, errors, timeouts, statusCodeStats = {} } = await run;
  const end = service.usage();
  const warm = samples.filter((sample) => sample.done > WARM_UP_SHARE * requests);
  const { slope, interval } = leastSquares(warm.map((sample) => [sample.done, sample.bytes]));
  return {
    requests: done,
    failed: done - (statusCodeStats['200']?.count ?? 0) + errors + timeouts,
    seconds: duration,
    requestsPerSecond: done / duration,
    cpuMsPerRequest: (1000 * (end.cpuSeconds - cpuSeconds)) / done,
    startMib: startBytes / MIB,
    warmMib: (warm[0]?.bytes ?? 0) / MIB,
    peakMib: Math.max(...samples.map((sample) => sample.bytes)) / MIB,
    endMib: end.bytes / MIB,
    slopeKib: (1000 * slope) / 1024,
    slopeInterval: (1000 * interval) / 1024,
  };
}

/** Slope of the line through points (x, y), and half of its 95 % interval for independent errors. */
export function leastSquares(points: readonly (readonly [x: number, y: number])[]): {
  slope: number;
  interval: number;
} {
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const [meanX, meanY] = [mean(points.map(([x]) => x)), mean(points.map(([, y]) => y))];
  const spread = points.reduce((sum, [x]) => sum + (x - meanX) ** 2, 0);
  const slope = points.reduce((sum, [x, y]) => sum + (x - meanX) * (y - meanY), 0) / spread;
  const residuals = points.reduce((sum, [x, y]) => sum + (y - meanY - slope * (x - meanX)) ** 2, 0);
  return { slope, interval: 1.96 * Math.sqrt(residuals / (points.length - 2) / spread) };
}

function requestsOf(strokes: readonly KeyStroke[], maxTokens: number) {
  return strokes.map(({ prefix, suffix }) => ({
    method: 'POST' as const,
    path: '/v1/completions',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ prompt: prefix, suffix, max_tokens: maxTokens, stop: '\n' }),
  }));
}

/** Repeats a request until it is answered. */
async function untilAnswered({ url }: RunningService): Promise<number> {
  const startMs = performance.now();
  for (;;) {
    const response = await fetch(`${url}/v1/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ prompt: 'const a = ', max_tokens: 4 }),
    });
    await response.text();
    if (response.ok) return performance.now() - startMs;
    await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN_MS));
  }
}
