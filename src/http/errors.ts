/** Errors as clients see them: the `{error: {message, type, param, code}}` body that OpenAI and Inception share. */

/** Inception's error types; the status selects one. */
export type ErrorType = 'invalid_request_error' | 'authentication_error' | 'rate_limit_error' | 'server_error';

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
    this.type = errorTypeOf(status);
    this.param = param ?? null;
    this.code = code ?? null;
    this.headers = headers;
  }

  toBody(): ErrorBody {
    return { error: { message: this.message, type: this.type, param: this.param, code: this.code } };
  }
}

function errorTypeOf(status: number): ErrorType {
  if (status >= 500) return 'server_error';
  if (status === 429) return 'rate_limit_error';
  return status === 401 || status === 403 ? 'authentication_error' : 'invalid_request_error';
}
