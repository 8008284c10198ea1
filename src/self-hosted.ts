/**
 * The entry point of plain workerd (`npm run serve`): weights on disk unless other storage is configured, and a second door for whoever runs the process.
 * scripts/serve.ts writes the configuration.
 */
import type { ExecutionContext } from 'hono';
import { Drain } from './middleware/drain.ts';
import { type ServiceBindings, service } from './service.ts';
import { diskStore, type FolderService } from './weights/disk.ts';

/** The bindings of the generated configuration. */
export interface Bindings extends ServiceBindings {
  /** The folder of all models. */
  MODELS: FolderService;
}

const drain = new Drain();
const main = service<Bindings>({ storeOf: ({ MODELS }) => ({ folder: diskStore(MODELS) }), drain });

export default main;

/** Answers at a socket that only the supervisor can reach, and therefore asks for no key. */
export const control = {
  async fetch(request: Request, bindings: Bindings, context: ExecutionContext): Promise<Response> {
    const { pathname } = new URL(request.url);
    if (request.method === 'GET' && pathname === '/ready') return main.fetch(request, bindings, context);
    if (request.method === 'POST' && pathname === '/drain') drain.start();
    else if (request.method !== 'GET' || pathname !== '/drain') return new Response(null, { status: 404 });
    return Response.json({ draining: drain.draining, in_flight: drain.inFlight });
  },
};
