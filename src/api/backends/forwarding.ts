/** Sends one request to the backends of its route, and answers the client with the result. */
import type { Context } from 'hono';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import type { Call } from '../../backend/attempt.ts';
import { BackendFailure, toClientError } from '../../backend/errors.ts';
import type { ForwardOptions, ForwardOutcome } from '../../backend/forward.ts';
import type { Gateway } from '../../backend/gateway.ts';
import { isRetryable } from '../../backend/retry.ts';
import type { Route } from '../../backend/routing.ts';
import { ApiError } from '../../http/errors.ts';
import { EVENT_STREAM_HEADERS } from '../../http/event-stream.ts';
import { logWarning } from '../../log.ts';
import type {} from '../../middleware/context.ts';
import { replaceable } from '../completion/open-requests.ts';
import type { Cursor } from '../editor/lines.ts';

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
  /** Where an editor will show the answer; a newer request that continues this one then replaces it. */
  cursor?: Cursor | undefined;
}

/** @throws ApiError when a newer request has replaced this one; the abort reason when the client has disconnected. */
export async function forwardToBackend(
  c: Context,
  gateway: Gateway,
  route: Route,
  call: Call,
  { gone, hasStandIn = false, cursor }: ForwardingOptions,
): Promise<ForwardOutcome> {
  const requestId: string = c.get('requestId');
  const observation = c.get('observation');
  const timeLimit = c.get('timeLimit');
  const endsMs = c.get('timeLimitEndsMs');
  const open = cursor && replaceable(c, call.model, cursor);
  const signals = [c.req.raw.signal, gone, timeLimit, open?.signal].filter((signal) => signal !== undefined);
  const options: ForwardOptions = {
    signal: AbortSignal.any(signals),
    log: (failure) => logWarning(requestId, failure.message),
    hasStandIn,
    ...(endsMs !== undefined && { endsMs: Date.now() + (endsMs - Date.now()) * SHARE_OF_TIME }),
    onStreamEnd: (ending) => {
      open?.end();
      if (observation === undefined) return;
      observation.backendUsage = ending.usage;
      if (ending.type !== 'broken') return;
      if (ending.error instanceof ApiError) observation.refused(ending.error.code);
      if (ending.error instanceof BackendFailure) observation.errorCode = toClientError(ending.error).body.error.code;
    },
  };
  let isStreaming = false;
  try {
    const outcome = await gateway.forward(route, call, options);
    isStreaming = outcome.type === 'answered' && outcome.answer.body instanceof ReadableStream;
    return outcome;
  } finally {
    if (!isStreaming) open?.end();
  }
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
