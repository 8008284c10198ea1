/** GET /metrics: what has been counted, for Prometheus. */
import type { Context } from 'hono';
import { CONTENT_TYPE, exposition, type MetricSnapshot } from '../../metrics/registry.ts';
import type { ServiceMetrics } from '../../metrics/service-metrics.ts';

/** What all processes of the service have counted, this one among them. */
export type CollectMetrics = () => Promise<readonly MetricSnapshot[]>;

/** Answers for the whole service where there is a way to ask its other processes, and for this isolate otherwise. */
export function metrics(counted: ServiceMetrics, collect?: CollectMetrics) {
  return async function metrics(c: Context): Promise<Response> {
    const page = exposition(collect ? await collect() : counted.snapshot());
    return c.body(page, 200, { 'content-type': CONTENT_TYPE, 'cache-control': 'no-store' });
  };
}
