/** The entry point on Cloudflare Workers, and of `npm start`: weights in an R2 bucket. */
import { type ServiceBindings, service } from './service.ts';
import { type Bucket, r2Source } from './weights/source.ts';

/** The bindings of wrangler.toml. */
export interface Bindings extends ServiceBindings {
  WEIGHTS: Bucket;
}

export default service<Bindings>({ sourceOf: ({ WEIGHTS, MODEL }) => r2Source(WEIGHTS, MODEL) });
