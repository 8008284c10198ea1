/** The worker: bindings in, app out. */
import type { ExecutionContext } from 'hono';
import relaxed from '../build/kernels.relaxed.wasm';
import simd from '../build/kernels.simd.wasm';
import { createApp } from './app.ts';
import { type BackendBindings, configuredGateway } from './backend/gateway.ts';
import { createEngine } from './engine/engine.ts';
import { modelLoader } from './weights/model-loader.ts';
import { type Bucket, r2Source } from './weights/source.ts';

/** The bindings of wrangler.toml. */
export interface Bindings extends BackendBindings {
  WEIGHTS: Bucket;
  /** Name of the model, and its folder in the bucket. */
  MODEL: string;
}

let app: ReturnType<typeof createApp> | undefined;

export default {
  fetch(request: Request, bindings: Bindings, context: ExecutionContext): Response | Promise<Response> {
    // An isolate has one set of bindings; the app, and with it the loaded model, lives as long as the isolate.
    app ??= createApp(
      modelLoader({
        model: bindings.MODEL,
        source: r2Source(bindings.WEIGHTS, bindings.MODEL),
        kernels: { relaxed, simd },
        createEngine,
      }),
      configuredGateway(bindings),
    );
    return app.fetch(request, bindings, context);
  },
};
