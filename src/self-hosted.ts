/**
 * The entry point of plain workerd (`npm run serve`): weights on disk unless other storage is configured, and a second
 * socket for the supervisor. scripts/serve.ts writes the configuration.
 */
import type { ExecutionContext } from 'hono';
import { ServiceMetrics } from './metrics/service-metrics.ts';
import { Drain } from './middleware/drain.ts';
import { type ServiceBindings, service } from './service.ts';
import { metricsOfAll, type SupervisorService, sharedLimiter } from './supervisor.ts';
import { REVISION, VERSION } from './version.ts';
import { diskStore, type FolderService } from './weights/disk.ts';

/** The bindings of the generated configuration. */
export interface Bindings extends ServiceBindings {
  /** The folder of all models. */
  MODELS: FolderService;
  /** None if a bench runs a single process. */
  SUPERVISOR?: SupervisorService;
}

const encoder = new TextEncoder();
const drain = new Drain();
const metrics = new ServiceMetrics({ version: VERSION, revision: REVISION });
const main = service<Bindings>(
  ({ MODELS, SUPERVISOR, RATE_LIMIT_REQUESTS }) => ({
    store: { folder: diskStore(MODELS) },
    ...(SUPERVISOR && { collectMetrics: metricsOfAll(SUPERVISOR) }),
    ...(SUPERVISOR && RATE_LIMIT_REQUESTS && { limiter: sharedLimiter(SUPERVISOR) }),
  }),
  { drain, metrics },
);

export default main;

const POLL_MS = 100;

/**
 * The head is sent immediately, the body when no request is open any more. After the signal to end, workerd answers no
 * new requests and finishes the open ones: this one delivers its last counts.
 */
function metricsAtEnd(): Response {
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  const writer = writable.getWriter();
  const write = async () => {
    // White space before JSON has no meaning. Requests that were accepted just now have begun by the first look.
    await writer.write(encoder.encode('\n'));
    do await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    while (drain.inFlight > 0);
    await writer.write(encoder.encode(JSON.stringify(metrics.snapshot())));
    await writer.close();
  };
  write().catch(() => {});
  return new Response(readable, { headers: { 'content-type': 'application/json' } });
}

/** Answers at a socket that only the supervisor can reach, and therefore asks for no key. */
export const control = {
  async fetch(request: Request, bindings: Bindings, context: ExecutionContext): Promise<Response> {
    const { pathname } = new URL(request.url);
    switch (`${request.method} ${pathname}`) {
      case 'GET /ready':
        return main.fetch(request, bindings, context);
      case 'GET /metrics':
        return Response.json(metrics.snapshot());
      case 'GET /metrics-at-end':
        return metricsAtEnd();
      case 'POST /drain':
        drain.start();
        break;
      case 'GET /drain':
        break;
      default:
        return new Response(null, { status: 404 });
    }
    return Response.json({ draining: drain.draining, in_flight: drain.inFlight });
  },
};
