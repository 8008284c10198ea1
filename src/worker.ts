/** The entry point on Cloudflare Workers, and of `npm start`: weights in an R2 bucket, unless S3 storage is configured. */
import { type ServiceBindings, service } from './service.ts';
import { type Bucket, r2Store } from './weights/r2-store.ts';

/** The bindings of wrangler.toml. */
export interface Bindings extends ServiceBindings {
  WEIGHTS?: Bucket;
}

export default service<Bindings>({ storeOf: ({ WEIGHTS }) => ({ bucket: WEIGHTS && r2Store(WEIGHTS) }) });
