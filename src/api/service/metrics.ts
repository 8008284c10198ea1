/** GET /metrics: what this isolate has counted, for Prometheus. */
import type { Context } from 'hono';
import { CONTENT_TYPE } from '../../metrics/registry.ts';
import type { ServiceMetrics } from '../../metrics/service-metrics.ts';

export function metrics(counted: ServiceMetrics) {
  return function metrics(c: Context): Response {
    return c.body(counted.text(), 200, { 'content-type': CONTENT_TYPE, 'cache-control': 'no-store' });
  };
}
