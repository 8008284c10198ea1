/** From what was thrown to the answer: the body that OpenAI and Inception share (src/http/errors.ts), or Ollama's. */
import type { Context } from 'hono';
import { HTTPException } from 'hono/http-exception';
import { EngineBusy, NotOfThisModel } from '../engine/errors.ts';
import { ModelUnavailable } from '../engine/provider.ts';
import { ApiError } from '../http/errors.ts';
import { logError } from '../log.ts';

/** Seconds after which a client may ask again for a model whose weights are being repaired. */
const RETRY_AFTER_SECONDS = 5;

/** Seconds in which a full queue advances by several requests. */
const BUSY_RETRY_AFTER_SECONDS = 1;

/** Status that servers log for a client that closed the connection before the answer (nginx's 499). */
const CLIENT_CLOSED_REQUEST = 499;

/** Paths where clients read Ollama's errors, `{"error": "message"}`, for any refusal. */
export const OLLAMA_PATH = /^\/api\//;

/** Turns anything thrown into what a client may know of it; internals are logged, never sent. */
export function toApiError(error: unknown, requestId: string): ApiError {
  if (error instanceof ApiError) return error;
  if (error instanceof ModelUnavailable) {
    logError(requestId, error);
    return new ApiError(503, error.message, {
      code: 'model_unavailable',
      headers: { 'retry-after': String(RETRY_AFTER_SECONDS) },
    });
  }
  if (error instanceof EngineBusy) {
    return new ApiError(503, 'Too many requests are waiting. Ask again in a moment.', {
      code: 'engine_busy',
      headers: { 'retry-after': String(BUSY_RETRY_AFTER_SECONDS) },
    });
  }
  if (error instanceof NotOfThisModel) {
    return new ApiError(400, error.message, { param: error.param, code: 'unsupported_by_model' });
  }
  if (error instanceof HTTPException) return new ApiError(error.status, error.message || 'The request was refused.');
  logError(requestId, error);
  return new ApiError(500, `The server had an error. Quote the request id ${requestId} when reporting it.`, {
    code: 'internal_error',
  });
}

/** The one error handler of the app. */
export function onError(error: Error, c: Context): Response {
  // Nobody is listening any more; the status only serves the log.
  if (c.req.raw.signal.aborted) {
    c.get('observation')?.refused('client_closed_request');
    return new Response(null, { status: CLIENT_CLOSED_REQUEST });
  }
  return errorResponse(c, toApiError(error, c.get('requestId')));
}

export function errorResponse(c: Context, error: ApiError): Response {
  c.get('observation')?.refused(error.code);
  const body = OLLAMA_PATH.test(c.req.path) ? { error: error.message } : error.toBody();
  return new Response(JSON.stringify(body), {
    status: error.status,
    headers: { 'content-type': 'application/json', 'x-request-id': c.get('requestId'), ...error.headers },
  });
}
