/** The routes and middleware of the service, in one table. */
import { Hono } from 'hono';
import { methodNotAllowed } from 'hono/method-not-allowed';
import { type RequestIdVariables, requestId } from 'hono/request-id';
import { forwarded } from './api/backends/forwarded.ts';
import { routed } from './api/backends/routed.ts';
import { OpenRequests } from './api/completion/open-requests.ts';
import { completions } from './api/dialects/completions.ts';
import { fim } from './api/dialects/fim.ts';
import { promptText } from './api/dialects/fim-markers.ts';
import { infill } from './api/dialects/infill.ts';
import { detokenize, llamaCompletion, props, slots, tokenize } from './api/dialects/llama-server.ts';
import { ollama } from './api/dialects/ollama.ts';
import { tabbyEvent, tabbyHealth, tabbySetting } from './api/dialects/tabby.ts';
import { errorResponse, onError } from './api/errors.ts';
import { openapi } from './api/openapi/openapi.ts';
import { about, configured, health, ready } from './api/service/health.ts';
import { type CollectMetrics, metrics } from './api/service/metrics.ts';
import { modelFiles } from './api/service/model-files.ts';
import { getModel, listModels } from './api/service/models.ts';
import { type Assets, playground } from './api/service/playground.ts';
import { type Gateway, gatewayOf } from './backend/gateway.ts';
import type { ModelCatalog } from './engine/catalog.ts';
import { ApiError } from './http/errors.ts';
import { ServiceMetrics } from './metrics/service-metrics.ts';
import type { ApiKey } from './middleware/api-keys.ts';
import { authentication, METRICS_PATH } from './middleware/authentication.ts';
import { bodyLimit } from './middleware/body-limit.ts';
import { contentEncoding } from './middleware/content-encoding.ts';
import { crossOrigin } from './middleware/cross-origin.ts';
import { type Drain, draining } from './middleware/drain.ts';
import { foreignPages } from './middleware/foreign-pages.ts';
import { type LogLine, observe } from './middleware/observe.ts';
import { type RateLimitOptions, rateLimit } from './middleware/rate-limit.ts';
import { timeLimit } from './middleware/time-limit.ts';
import type { Mirror } from './mirror/mirror.ts';
import { mirrorRoutes } from './mirror/routes.ts';
import type { WeightSource } from './weights/source.ts';

/** Larger than any source file that an editor sends; bounds the time that one request can spend in the tokenizer. */
export const MAX_BODY_BYTES = 256 * 1024;

/**
 * Routes that only backends answer; their prompts are not read here, and each backend has bounds of its own, of size
 * and of time.
 */
const FORWARDED_PATH = /^\/v1\/(chat|edit|apply)\//;

/**
 * The operator's settings; without any of them the service answers its own machine, within the default limits, and logs
 * nothing.
 */
export interface OperatorOptions {
  keys?: readonly ApiKey[];
  /** Web pages that may call the service. */
  origins?: readonly string[];
  timeLimitMs?: number;
  rateLimit?: RateLimitOptions;
  /** Where the process can be told to finish open requests and accept no new ones. */
  drain?: Drain;
  /** Where this isolate counts; its own counters otherwise. */
  metrics?: ServiceMetrics;
  collectMetrics?: CollectMetrics | undefined;
  log?: (line: LogLine) => void;
}

/** Files that the service hands out, where the platform has them. */
export interface Files {
  /** The playground. */
  assets?: Assets | undefined;
  /** The files of the models by their names, for clients that run them elsewhere. */
  weights?: ReadonlyMap<string, WeightSource>;
  /** Weights of other models, for GPU engines. */
  mirror?: Mirror | undefined;
}

/** Builds the service around the local models and the backends it may answer with. */
export function createApp(
  models: ModelCatalog,
  gateway: Gateway = gatewayOf([]),
  operations: OperatorOptions = {},
  { assets, weights, mirror }: Files = {},
) {
  const app = new Hono<{ Variables: RequestIdVariables }>();
  const counted = operations.metrics ?? new ServiceMetrics();
  const hasKeys = (operations.keys ?? []).length > 0;
  const description = openapi({ hasKeys, hasBackends: gateway.maxRequestBytes > 0 });
  const localTime = timeLimit({ limitMs: operations.timeLimitMs });
  const openRequests = new OpenRequests();

  app.use(requestId());
  app.use(observe({ metrics: counted, log: operations.log }));
  app.use(crossOrigin(operations));
  app.use(foreignPages(operations));
  if (operations.drain) app.use(draining(operations.drain));
  app.use(playground(assets));
  app.use(authentication(operations));
  app.use(rateLimit(operations.rateLimit));
  app.use((c, next) => (FORWARDED_PATH.test(c.req.path) ? next() : localTime(c, next)));
  app.use((c, next) => {
    c.set('openRequests', openRequests);
    return next();
  });
  app.use(
    methodNotAllowed({
      app,
      onMethodNotAllowed: (c, methods) =>
        errorResponse(
          c,
          new ApiError(405, `${c.req.path} does not answer ${c.req.method}.`, {
            code: 'method_not_allowed',
            headers: { allow: methods.join(', ') },
          }),
        ),
    }),
  );
  const local = { maxBytes: MAX_BODY_BYTES };
  const backend = { maxBytes: Math.max(MAX_BODY_BYTES, gateway.maxRequestBytes) };
  for (const limited of [bodyLimit, contentEncoding]) {
    const [localLimit, backendLimit] = [limited(local), limited(backend)];
    app.use((c, next) => (FORWARDED_PATH.test(c.req.path) ? backendLimit : localLimit)(c, next));
  }

  app.get('/', about(models));
  app.get('/health', health);
  app.get('/ready', configured(gateway), ready(models));
  app.get(METRICS_PATH, metrics(counted, operations.collectMetrics));
  app.get('/openapi.json', description.json);
  app.get('/docs', description.docs);
  app.on('GET', ['/v1/models', '/models'], listModels(models, gateway));
  app.get('/v1/models/:id', getModel(models, gateway));
  app.get('/models/:name/:file', modelFiles(models, weights));
  app.post('/v1/completions', routed(completions, models, gateway, 'completions', promptText));
  app.post('/v1/fim/completions', routed(fim, models, gateway, 'fim'));
  app.post('/beta/completions', routed(completions, models, gateway, 'completions', promptText));
  app.post('/infill', infill(models));
  app.on('POST', ['/completion', '/completions'], llamaCompletion(models));
  app.post('/tokenize', tokenize(models));
  app.post('/detokenize', detokenize(models));
  app.get('/props', props(models));
  app.get('/slots', slots);
  app.on(['GET', 'POST'], '/v1/health', tabbyHealth(models));
  app.post('/v1/events', tabbyEvent);
  app.get('/v1beta/server_setting', tabbySetting);
  app.route('/api', ollama(models));
  app.post('/v1/chat/completions', forwarded(gateway, models.names, 'chat'));
  app.post('/v1/edit/completions', forwarded(gateway, models.names, 'edit'));
  app.post('/v1/apply/completions', forwarded(gateway, models.names, 'apply'));
  if (mirror) app.route('/', mirrorRoutes(mirror));

  app.notFound((c) =>
    errorResponse(c, new ApiError(404, `There is no ${c.req.method} ${c.req.path}.`, { code: 'route_not_found' })),
  );
  app.onError(onError);
  return app;
}
