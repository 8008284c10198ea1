/** From bindings to answers: what the entry points of all platforms share. */
import type { ExecutionContext } from 'hono';
import relaxed from '../build/kernels.relaxed.wasm';
import simd from '../build/kernels.simd.wasm';
import type { CollectMetrics } from './api/service/metrics.ts';
import type { Assets } from './api/service/playground.ts';
import { createApp } from './app.ts';
import { type BackendBindings, configuredGateway } from './backend/gateway.ts';
import { createEngine, describeModel } from './engine/create.ts';
import { log, logInfo } from './log.ts';
import type { ServiceMetrics } from './metrics/service-metrics.ts';
import type { Drain } from './middleware/drain.ts';
import type { LogLine } from './middleware/observe.ts';
import type { RateLimiter } from './middleware/rate-limit.ts';
import { configuredMirror } from './mirror/configured.ts';
import type { MirrorVariables } from './mirror/settings.ts';
import { readSettings, requireLimiter, SettingsError, type SettingsVariables } from './settings.ts';
import type { WeightCache } from './weights/cached.ts';
import { type ConfiguredWeights, configuredWeights, type PlatformStore } from './weights/configured.ts';
import { localModels } from './weights/local-models.ts';
import type { WeightVariables } from './weights/settings.ts';

/** What every platform binds. */
export interface ServiceBindings extends BackendBindings, SettingsVariables, WeightVariables, MirrorVariables {
  /** Names of the models, the default first, and their folders in the store. */
  MODEL: string;
  /** The playground's files, where the platform has them. */
  ASSETS?: Assets;
}

/** What a platform provides. */
interface Platform {
  /** The weights, unless the settings name another place. */
  store: PlatformStore;
  limiter?: RateLimiter | undefined;
  collectMetrics?: CollectMetrics;
}

/** What lives as long as the isolate, and is seen from outside of the app. */
interface Isolate {
  metrics: ServiceMetrics;
  drain?: Drain;
}

/** The handler of an entry point. */
export function service<Bindings extends ServiceBindings>(
  platformOf: (bindings: Bindings) => Platform,
  isolate: Isolate,
) {
  let app: ReturnType<typeof createApp> | undefined;

  return {
    fetch(request: Request, bindings: Bindings, context: ExecutionContext): Response | Promise<Response> {
      try {
        // An isolate has one set of bindings; the app, and with it the loaded model, lives as long as the isolate.
        app ??= appOf(bindings, platformOf(bindings), isolate);
      } catch (error) {
        if (!(error instanceof SettingsError)) throw error;
        return misconfigured(error);
      }
      return app.fetch(request, bindings, context);
    },
  };
}

function appOf(bindings: ServiceBindings, platform: Platform, { metrics, drain }: Isolate) {
  const settings = readSettings(bindings);
  const { keys, origins, timeLimitMs, maxWaiting, rateLimitRequests, rateLimitPeriodSeconds } = settings;
  if (settings.models.length === 0) throw new SettingsError('MODEL is missing');
  requireLimiter(bindings, platform.limiter);
  const weights = weightsOf(bindings, platform.store);
  const sources = new Map(settings.models.map((name) => [name, weights.source(name)]));
  const models = localModels({
    names: settings.models,
    source: (name) => sources.get(name)!,
    kernels: { relaxed, simd },
    createEngine,
    describeModel,
    limits: { maxWaiting },
  });
  const operations = {
    keys,
    origins,
    timeLimitMs,
    rateLimit: {
      limiter: platform.limiter,
      requests: rateLimitRequests,
      periodSeconds: rateLimitPeriodSeconds,
    },
    metrics,
    collectMetrics: platform.collectMetrics,
    ...(drain && { drain }),
    log: (line: LogLine) => console.log(JSON.stringify(line)),
  };
  const files = { assets: bindings.ASSETS, weights: sources, mirror: configuredMirror(bindings, weights) };
  return createApp(models, configuredGateway(bindings), operations, files);
}

function weightsOf(bindings: WeightVariables, store: PlatformStore): ConfiguredWeights {
  // Workers have a cache that no web page has; lib.dom does not know it.
  const cache = (globalThis as { caches?: { default?: WeightCache } }).caches?.default;
  return configuredWeights(bindings, { ...store, cache, log: logInfo });
}

/** A service with invalid settings answers nothing, so that a mistyped key does not open it. */
function misconfigured(error: SettingsError): Response {
  log('error', { message: error.message });
  const message = 'The service is misconfigured; its log says what is wrong.';
  return Response.json(
    { error: { message, type: 'server_error', param: null, code: 'misconfigured' } },
    { status: 500 },
  );
}
