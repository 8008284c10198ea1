/** Sends one request to the backends of its route, and answers the client with the result. */
import type { Context } from 'hono';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import type { Call } from '../../backend/attempt.ts';
import { BackendFailure, toClientError } from '../../backend/errors.ts';
import type { ForwardOutcome } from '../../backend/forward.ts';
import type { Gateway } from '../../backend/gateway.ts';
import { isRetryable } from '../../backend/retry.ts';
import type { Route } from '../../backend/routing.ts';
import { ApiError } from '../../http/errors.ts';
import { EVENT_STREAM_HEADERS } from '../../http/event-stream.ts';
import { logWarning } from '../../log.ts';
import type {} from '../../middleware/context.ts';

/** Of the service's own time limit, so that a backend that is too slow is named before the limit itself is. */
const SHARE_OF_TIME = 0.95;

/** @throws ApiError 503, since the model asked for may be one of the backends that cannot be read. */
export function refuseIfMisconfigured({ problems }: Gateway): void {
  if (problems.length === 0) return;
  throw new ApiError(503, 'The backends of this service are not configured rightly; see /ready.', {
    code: 'backend_misconfigured',
  });
}

interface ForwardingOptions {
  /** Aborts when the reader of the answer has disconnected. */
  gone: AbortSignal;
  /** Whether the local model answers when all backends fail. */
  hasStandIn?: boolean;
}

export function forwardToBackend(
  c: Context,
  gateway: Gateway,
  route: Route,
  call: Call,
  { gone, hasStandIn = false }: ForwardingOptions,
): Promise<ForwardOutcome> {
  const requestId: string = c.get('requestId');
  const observation = c.get('observation');
  const timeLimit = c.get('timeLimit');
  const endsMs = c.get('timeLimitEndsMs');
  const signals = [c.req.raw.signal, gone, ...(timeLimit ? [timeLimit] : [])];
  return gateway.forward(route, call, {
    signal: AbortSignal.any(signals),
    log: (failure) => logWarning(requestId, failure.message),
    hasStandIn,
    ...(endsMs !== undefined && { endsMs: Date.now() + (endsMs - Date.now()) * SHARE_OF_TIME }),
    onStreamEnd: (ending) => {
      if (observation === undefined) return;
      observation.backendUsage = ending.usage;
      if (ending.type !== 'broken' || !(ending.error instanceof BackendFailure)) return;
      observation.errorCode = toClientError(ending.error).body.error.code;
    },
  });
}

/** Answers with the result of forwarding. Of the backend's headers only the content type is passed on. */
export function respondWithOutcome(c: Context, { reason, chain }: Route, outcome: ForwardOutcome): Response {
  const { backend, attempts } = outcome;
  const intended = chain[0]!.backend.name;
  nameRoute(c, { backend, route: backend === intended ? reason : `${reason}; fallback-from=${intended}`, attempts });
  const observation = c.get('observation');
  if (observation !== undefined) observation.backend = backend;
  if (outcome.type === 'failed') {
    const { status, headers, body } = toClientError(outcome.failure);
    if (observation !== undefined) observation.errorCode = body.error.code;
    const advice = isWorthRetrying(outcome) ? {} : { 'x-should-retry': 'false' };
    return c.json(body, status as ContentfulStatusCode, { ...headers, ...advice });
  }
  const { body, contentType, usage } = outcome.answer;
  if (body instanceof ReadableStream) {
    return c.body(body, 200, { ...EVENT_STREAM_HEADERS, 'content-type': contentType });
  }
  if (observation !== undefined) observation.backendUsage = usage;
  return c.body(new Uint8Array(body), 200, { 'content-type': contentType });
}

/**
 * Whether clients that retry by themselves, as OpenAI's do, should retry: not after our own retries, which theirs would
 * multiply, and not where only the operator can help.
 */
function isWorthRetrying({ failure, attempts }: ForwardOutcome & { type: 'failed' }): boolean {
  if (failure.retryAfterMs !== undefined) return true;
  return !failure.isSpentQuota && !(isRetryable(failure) && attempts > 1);
}

interface RouteNames {
  backend: string;
  route: string;
  /** Undefined until it is known which backend answers. */
  attempts?: number;
}

/** Sets the headers that say which engine answered and why, unless they have been sent. */
export function nameRoute(c: Context, { backend, route, attempts }: RouteNames): void {
  if (c.finalized) return;
  c.header('x-quicksilver-backend', backend);
  c.header('x-quicksilver-route', route);
  c.header('x-quicksilver-attempts', attempts === undefined ? undefined : String(attempts));
}
