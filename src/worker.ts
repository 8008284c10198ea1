/**
 * The entry point on Cloudflare Workers, and of `npm start`: weights in an R2 bucket, unless S3 storage is configured.
 */
import { ServiceMetrics } from './metrics/service-metrics.ts';
import type { RateLimiter } from './middleware/rate-limit.ts';
import { type ServiceBindings, service } from './service.ts';
import { REVISION, VERSION } from './version.ts';
import { type Bucket, r2Store } from './weights/r2-store.ts';

/** The bindings of wrangler.toml. */
export interface Bindings extends ServiceBindings {
  WEIGHTS?: Bucket;
  RATE_LIMITER?: RateLimiter;
}

export default service<Bindings>(
  ({ WEIGHTS, RATE_LIMITER }) => ({ store: { bucket: WEIGHTS && r2Store(WEIGHTS) }, limiter: RATE_LIMITER }),
  { metrics: new ServiceMetrics({ version: VERSION, revision: REVISION }) },
);
