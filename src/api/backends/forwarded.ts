/**
 * What backends answer: POST /v1/chat/completions, /v1/edit/completions and /v1/apply/completions, which need a model
 * larger than the local one, and any request that src/api/backends/routed.ts sends their way.
 */
import type { Context } from 'hono';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import * as z from 'zod';
import type { Call } from '../../backend/attempt.ts';
import { AUTO_MODEL, type Operation } from '../../backend/config.ts';
import { toClientError } from '../../backend/errors.ts';
import type { ForwardOutcome } from '../../backend/forward.ts';
import type { Gateway } from '../../backend/gateway.ts';
import type { Route } from '../../backend/routing.ts';
import { ApiError } from '../../http/errors.ts';
import { EVENT_STREAM_HEADERS } from '../../http/event-stream.ts';
import { logWarning } from '../../log.ts';
import { decodingFields, readBody } from '../completion/schema.ts';

/** No model has a longer name; it is echoed in messages. */
const MAX_MODEL_CHARS = 256;

/** What routing has to know; everything else is between the client and whoever answers. */
export const forwardedRequest = z.object({
  model: decodingFields.model.max(MAX_MODEL_CHARS),
  stream: z.unknown().optional(),
});

/** Answers an operation that only backends offer. */
export function forwarded(gateway: Gateway, localModel: string, operation: Operation) {
  return async function forwarded(c: Context): Promise<Response> {
    const call = await readCall(c);
    refuseIfMisconfigured(gateway);
    const route = gateway.route({ operation, model: call.model, localModel });
    if (route === undefined) throw backendRequired(operation, call.model, localModel);
    return respondWithOutcome(c, route, await forwardToBackend(c, gateway, route, call));
  };
}

/**
 * Reads what routing has to know of a request; the body can be read again.
 * @throws ApiError 400 for what is no JSON object or names no model, 415 for another media type.
 */
async function readCall(c: Context): Promise<Call> {
  const { model, stream } = await readBody(c, forwardedRequest);
  return { model, stream: stream === true, text: await c.req.text() };
}

/** @throws ApiError 503, since the model asked for may be one of the backends that cannot be read. */
export function refuseIfMisconfigured({ problems }: Gateway): void {
  if (problems.length === 0) return;
  throw new ApiError(503, 'The backends of this service are not configured rightly; see /ready.', {
    code: 'backend_misconfigured',
  });
}

export function forwardToBackend(c: Context, gateway: Gateway, route: Route, call: Call): Promise<ForwardOutcome> {
  const requestId: string = c.get('requestId');
  const timeLimit = c.get('timeLimit');
  return gateway.forward(route, call, {
    signal: timeLimit === undefined ? c.req.raw.signal : AbortSignal.any([c.req.raw.signal, timeLimit]),
    log: (failure) => logWarning(requestId, failure.message),
  });
}

/** Answers with what came of forwarding. Of the backend's headers only the content type is passed on. */
export function respondWithOutcome(c: Context, { reason, chain }: Route, outcome: ForwardOutcome): Response {
  const intended = chain[0]!.backend.name;
  const isFallback = outcome.backend !== intended;
  nameRoute(c, outcome.backend, isFallback ? `${reason}; fallback-from=${intended}` : reason, outcome.attempts);
  const observation = c.get('observation');
  if (observation !== undefined) observation.backend = outcome.backend;
  if (outcome.type === 'failed') {
    const { status, headers, body } = toClientError(outcome.failure);
    if (observation !== undefined) observation.errorCode = body.error.code;
    return c.json(body, status as ContentfulStatusCode, headers);
  }
  const { body, contentType } = outcome.answer;
  if (body instanceof ReadableStream)
    return c.body(body, 200, { ...EVENT_STREAM_HEADERS, 'content-type': contentType });
  return c.body(new Uint8Array(body), 200, { 'content-type': contentType });
}

/** Says in the answer's headers who gave it and why. */
export function nameRoute(c: Context, backend: string, route: string, attempts: number): void {
  c.header('x-quicksilver-backend', backend);
  c.header('x-quicksilver-route', route);
  c.header('x-quicksilver-attempts', String(attempts));
}

/** Not 501: clients retry what is 5xx, and no retry makes this model chat. */
function backendRequired(operation: Operation, model: string, localModel: string): ApiError {
  const isKnown = model === localModel || model === AUTO_MODEL;
  return new ApiError(
    isKnown ? 400 : 404,
    `The local model does not do ${operation}, and no backend is configured that does it for the model '${model}'. ` +
      'Name one in the variable BACKENDS, with the model among its models or as the default; see docs/backends.md.',
    { param: 'model', code: isKnown ? 'backend_required' : 'model_not_found' },
  );
}
