/** Observes every answer: a line for the log, the metrics, and the header Server-Timing. */
import type { Context, Next } from 'hono';
import { matchedRoutes } from 'hono/route';
import { Observation, type WorkTotals } from '../metrics/observation.ts';
import type { ServiceMetrics } from '../metrics/service-metrics.ts';
import { type BodyEnd, isUnderWay, onBodyEnd } from './body-end.ts';

/** Route of requests without a matching route; their paths are chosen by the client, and may contain anything. */
const NO_ROUTE = 'none';

/**
 * Routes of health probes, which ask every few seconds. Their own answers, positive and negative, would fill the log.
 */
const PROBE_ROUTES: readonly string[] = ['/health', '/ready', '/v1/health', '/metrics'];
const PROBE_STATUSES: readonly number[] = [200, 304, 503];

/** Ends of an answer that are its client's doing, and no failure. */
const CLIENTS_DOING: readonly string[] = ['client_closed_request', 'replaced'];

/** One request in the log. Names and figures only: no text of a prompt or an answer, no key, no address. */
export interface LogLine {
  time: string;
  level: 'info' | 'error';
  id: string;
  method: string;
  /** The pattern of the route, not the path. */
  route: string;
  status: number;
  ms: number;
  /** Name of the API key, or `loopback`. */
  key?: string;
  /** The local model that answered, or could not. */
  model?: string;
  backend?: string;
  error?: string;
  /** How a stream ended when it was not sent whole. */
  end?: BodyEnd;
  prompt_tokens?: number;
  cached_tokens?: number;
  completion_tokens?: number;
  steps?: number;
  slot_evaluations?: number;
  queue_ms?: number;
}

interface ObserveOptions {
  metrics: ServiceMetrics;
  /** Gets the line of each request; nothing is logged without it. */
  log?: ((line: LogLine) => void) | undefined;
}

export function observe({ metrics, log }: ObserveOptions) {
  return async function observe(c: Context, next: Next): Promise<void> {
    const observation = new Observation();
    const startMs = performance.now();
    c.set('observation', observation);
    metrics.began();
    await next();
    const route = routeOf(c);
    const { status } = c.res;
    if (!isUnderWay(c)) c.header('server-timing', serverTiming(observation.work, performance.now() - startMs));
    onBodyEnd(c, (end) => {
      const durationMs = performance.now() - startMs;
      metrics.ended({ route, status, key: c.get('client'), durationMs, observation });
      if (!isProbe(route, status)) log?.(logLine(c, { route, status, durationMs, end, observation }));
    });
  };
}

/** The most specific route that matched; those of middleware match everything. */
function routeOf(c: Context): string {
  return matchedRoutes(c).findLast(({ path }) => path !== '/*')?.path ?? NO_ROUTE;
}

/** One that was refused, or failed inside, is not what a probe is for. */
function isProbe(route: string, status: number): boolean {
  return PROBE_ROUTES.includes(route) && PROBE_STATUSES.includes(status);
}

/**
 * https://www.w3.org/TR/server-timing/: the known times of queue, prefill and denoising, and the total, in
 * milliseconds.
 */
function serverTiming(work: WorkTotals | undefined, totalMs: number): string {
  const parts = { queue: work?.queueMs, prefill: work?.prefillMs, denoise: work?.denoiseMs, total: totalMs };
  return Object.entries(parts)
    .filter(([, ms]) => ms !== undefined)
    .map(([name, ms]) => `${name};dur=${ms!.toFixed(1)}`)
    .join(', ');
}

interface Ending {
  route: string;
  status: number;
  durationMs: number;
  end: BodyEnd;
  observation: Observation;
}

function logLine(c: Context, { route, status, durationMs, end, observation }: Ending): LogLine {
  const { work, model, backend, backendUsage, errorCode } = observation;
  // Of the engine whose answer was sent: if a backend answered, the work of the local model was not used.
  const tokens = backend === undefined ? work : backendUsage;
  const client = c.get('client');
  const hasFailed = errorCode !== undefined && !CLIENTS_DOING.includes(errorCode);
  return {
    time: new Date().toISOString(),
    // A stream fails after its status has been sent.
    level: status >= 500 || (status < 400 && hasFailed) ? 'error' : 'info',
    id: c.get('requestId'),
    method: c.req.method,
    route,
    status,
    ms: Math.round(durationMs),
    ...(client !== undefined && { key: client }),
    ...(backend === undefined && model !== undefined && { model }),
    ...(backend !== undefined && { backend }),
    ...(errorCode !== undefined && { error: errorCode }),
    ...(end !== 'sent' && { end }),
    ...(tokens && {
      prompt_tokens: tokens.promptTokens,
      cached_tokens: tokens.cachedTokens,
      completion_tokens: tokens.completionTokens,
    }),
    ...(work && { steps: work.steps, slot_evaluations: work.slotEvaluations }),
    ...(work?.queueMs !== undefined && { queue_ms: Math.round(work.queueMs) }),
  };
}
