/** Errors as clients see them: the `{error: {message, type, param, code}}` body that OpenAI and Inception share. */
import type { Context } from 'hono';
import { HTTPException } from 'hono/http-exception';
import { ModelUnavailable } from '../engine/provider.ts';

/** Seconds after which a client may ask again for a model whose weights are being put right. */
const RETRY_AFTER_SECONDS = 5;

/** Status that servers log for a client that closed the connection before the answer (nginx's 499). */
const CLIENT_CLOSED_REQUEST = 499;

export type ErrorType = 'invalid_request_error' | 'server_error';

export interface ErrorBody {
  error: { message: string; type: ErrorType; param: string | null; code: string | null };
}

interface ApiErrorOptions {
  param?: string;
  code?: string;
  headers?: Record<string, string>;
}

/** An error whose message is meant for the client. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly status: number;
  readonly type: ErrorType;
  readonly param: string | null;
  readonly code: string | null;
  readonly headers: Record<string, string>;

  constructor(status: number, message: string, { param, code, headers = {} }: ApiErrorOptions = {}) {
    super(message);
    this.status = status;
    this.type = status >= 500 ? 'server_error' : 'invalid_request_error';
    this.param = param ?? null;
    this.code = code ?? null;
    this.headers = headers;
  }

  toBody(): ErrorBody {
    return { error: { message: this.message, type: this.type, param: this.param, code: this.code } };
  }
}

/** Turns anything thrown into what a client may know of it; internals are logged, never sent. */
export function toApiError(error: unknown, requestId: string): ApiError {
  if (error instanceof ApiError) return error;
  if (error instanceof ModelUnavailable) {
    console.error(requestId, error);
    return new ApiError(503, error.message, {
      code: 'model_unavailable',
      headers: { 'retry-after': String(RETRY_AFTER_SECONDS) },
    });
  }
  if (error instanceof HTTPException) return new ApiError(error.status, error.message || 'The request was refused.');
  console.error(requestId, error);
  return new ApiError(500, `The server had an error. Quote the request id ${requestId} when reporting it.`, {
    code: 'internal_error',
  });
}

/** The one error handler of the app. */
export function onError(error: Error, c: Context): Response {
  // Nobody is listening any more; the status only serves the log.
  if (c.req.raw.signal.aborted) return new Response(null, { status: CLIENT_CLOSED_REQUEST });
  return errorResponse(c, toApiError(error, c.get('requestId')));
}

export function errorResponse(c: Context, error: ApiError): Response {
  return new Response(JSON.stringify(error.toBody()), {
    status: error.status,
    headers: { 'content-type': 'application/json', 'x-request-id': c.get('requestId'), ...error.headers },
  });
}
