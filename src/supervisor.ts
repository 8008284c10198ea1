/** What a worker of plain workerd asks the supervisor of its processes: what is counted over all of them. */
import type { CollectMetrics } from './api/service/metrics.ts';
import type { MetricSnapshot } from './metrics/registry.ts';
import type { RateLimiter, RateLimitVerdict } from './middleware/rate-limit.ts';

/** The supervisor's socket, as a binding of the generated configuration. */
export interface SupervisorService {
  fetch(url: string, init?: RequestInit): Promise<Response>;
}

/** GET: the metrics of all processes, as an array of `MetricSnapshot`. */
export const METRICS_OF_ALL = '/metrics';
/** POST `{key}`: counts a request of a client. The answer is a `RateLimitVerdict`. */
export const COUNT_REQUEST = '/count-request';

/** The runtime needs a host; the binding leads to the same socket for any host. */
const ORIGIN = 'http://supervisor';

/** Collects the metrics of all processes. Rejects when the supervisor does not answer. */
export function metricsOfAll(supervisor: SupervisorService): CollectMetrics {
  return async () => (await answerOf(supervisor.fetch(`${ORIGIN}${METRICS_OF_ALL}`))) as MetricSnapshot[];
}

/** Counts requests over all processes. Rejects when the supervisor does not answer: an unknown count is not zero. */
export function sharedLimiter(supervisor: SupervisorService): RateLimiter {
  return {
    async limit({ key }) {
      const body = JSON.stringify({ key });
      const asked = supervisor.fetch(`${ORIGIN}${COUNT_REQUEST}`, { method: 'POST', body });
      return (await answerOf(asked)) as RateLimitVerdict;
    },
  };
}

async function answerOf(asked: Promise<Response>): Promise<unknown> {
  const response = await asked;
  if (!response.ok) throw new Error(`the supervisor answered ${response.status}`);
  return response.json();
}
