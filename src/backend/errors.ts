/** What can go wrong at a backend, and what a client may know of it. */

/** Longest message of a backend that is passed on; more is noise, or a page of HTML. */
const MAX_DETAIL_CHARS = 1000;

/** Error names with which services refuse with 429 until the customer pays: OpenAI, DeepSeek, Moonshot. */
const SPENT_QUOTA = /^(insufficient_(quota|balance|credits?|funds)|billing_\w+|exceeded_current_quota_error)$/i;

/**
 * - `unreachable`: no connection, or it broke before the answer was complete
 * - `timeout`: the first byte, the next byte or the end did not arrive in time
 * - `refused`: an HTTP status other than success
 * - `bad_answer`: a success without a valid answer: wrong content type, invalid JSON, an empty stream, a redirect
 * - `too_large`: more bytes than the configured limit
 * - `circuit_open`: not asked at all, because it failed too often recently
 */
export type FailureKind = 'unreachable' | 'timeout' | 'refused' | 'bad_answer' | 'too_large' | 'circuit_open';

interface FailureOptions {
  /** HTTP status of the backend, for `refused`. */
  status?: number | undefined;
  /** The wait that the backend asks for. */
  retryAfterMs?: number | undefined;
  /** The backend's own words about the request, for `refused`. */
  detail?: string | undefined;
  /** What programs decide by, as the backend has it, for `refused`. */
  code?: string | undefined;
  type?: string | undefined;
  param?: string | undefined;
  /** Whether the backend says that a retry helps (`x-should-retry`). */
  shouldRetry?: boolean | undefined;
  /** For `timeout`: the stream was cut because the request had no more time, not because its backend failed. */
  isOurLimit?: boolean | undefined;
  cause?: unknown;
}

/** A backend did not answer a request. The message is for the log; clients get `toClientError`. */
export class BackendFailure extends Error {
  override readonly name = 'BackendFailure';
  readonly backend: string;
  readonly kind: FailureKind;
  readonly status: number | undefined;
  readonly retryAfterMs: number | undefined;
  readonly detail: string | undefined;
  readonly code: string | undefined;
  readonly type: string | undefined;
  readonly param: string | undefined;
  readonly shouldRetry: boolean | undefined;
  readonly isOurLimit: boolean;

  constructor(backend: string, kind: FailureKind, what: string, options: FailureOptions = {}) {
    super(`${backend}: ${what}`, { cause: options.cause });
    this.backend = backend;
    this.kind = kind;
    this.status = options.status;
    this.retryAfterMs = options.retryAfterMs;
    this.detail = shortened(options.detail);
    this.code = options.code;
    this.type = options.type;
    this.param = options.param;
    this.shouldRetry = options.shouldRetry;
    this.isOurLimit = options.isOurLimit ?? false;
  }

  /** The same failure, for requests during the wait that its backend asked for. */
  again(retryAfterMs: number): BackendFailure {
    return new BackendFailure(this.backend, this.kind, 'asked for a wait', { ...this, retryAfterMs });
  }

  /** The customer has to pay first: waiting does not help. */
  get isSpentQuota(): boolean {
    return this.status === 429 && [this.code, this.type].some((name) => name !== undefined && SPENT_QUOTA.test(name));
  }

  /** The request is at fault, so that no other backend need be asked. */
  get isClientFault(): boolean {
    if (this.kind !== 'refused' || this.status === undefined) return false;
    return this.status >= 400 && this.status < 500 && ![401, 402, 403, 407, 408, 429].includes(this.status);
  }

  /**
   * Whether the circuit breaker counts it as a failure of the backend. A refused request or a refused key does not
   * count.
   */
  get countsAsFailure(): boolean {
    if (this.kind === 'refused') return (this.status ?? 0) >= 500 || this.status === 408;
    return this.kind !== 'circuit_open' && this.kind !== 'too_large' && !this.isOurLimit;
  }
}

/** The error shape that OpenAI and Inception share. */
export interface ClientError {
  status: number;
  headers: Record<string, string>;
  body: { error: { message: string; type: string; param: string | null; code: string } };
}

const UNANSWERED: Record<Exclude<FailureKind, 'refused'>, { status: number; code: string; what: string }> = {
  unreachable: { status: 502, code: 'backend_unreachable', what: 'could not be reached, or closed the connection' },
  timeout: { status: 504, code: 'backend_timeout', what: 'did not answer in time' },
  bad_answer: { status: 502, code: 'backend_bad_answer', what: 'sent an answer that cannot be used' },
  too_large: { status: 502, code: 'backend_answer_too_large', what: 'sent more than may be passed on' },
  circuit_open: { status: 503, code: 'backend_unavailable', what: 'failed too often lately; it is given a pause' },
};

/**
 * Translates a failure. The backend's message is passed on only if it is about the request (4xx): messages about the
 * backend itself, our key or our bill are only for the operator's log.
 */
export function toClientError(failure: BackendFailure): ClientError {
  const name = `The backend '${failure.backend}'`;
  if (failure.kind !== 'refused') {
    const { status, code, what } = UNANSWERED[failure.kind];
    return clientError(failure, status, 'server_error', code, `${name} ${what}.`);
  }
  const status = failure.status ?? 0;
  if (status === 429) {
    const what = failure.isSpentQuota
      ? 'has no quota left. Its operator has to put that right.'
      : 'takes no more requests now.';
    return refused(failure, 429, 'rate_limit_error', 'rate_limit_exceeded', `${name} ${what}`);
  }
  if (failure.isClientFault) {
    const message = failure.detail ?? `${name} refused the request with status ${status}.`;
    return refused(failure, status, 'invalid_request_error', 'backend_refused_request', message);
  }
  if (status === 401 || status === 402 || status === 403) {
    const message = `${name} refused the key of this service. Its operator has to put that right.`;
    return clientError(failure, 502, 'server_error', 'backend_refused_key', message);
  }
  if (status === 503 && failure.retryAfterMs !== undefined) {
    return clientError(failure, 503, 'server_error', 'backend_unavailable', `${name} is not available now.`);
  }
  return clientError(failure, 502, 'server_error', 'backend_error', `${name} failed with status ${status}.`);
}

/** A refusal keeps the fields that programs read; the message says where it comes from. */
function refused(failure: BackendFailure, status: number, type: string, code: string, message: string): ClientError {
  const { headers, body } = clientError(failure, status, failure.type ?? type, failure.code ?? code, message);
  return { status, headers, body: { error: { ...body.error, param: failure.param ?? null } } };
}

function shortened(text: string | undefined): string | undefined {
  if (text === undefined || text.length <= MAX_DETAIL_CHARS) return text;
  return `${text.slice(0, MAX_DETAIL_CHARS).toWellFormed()}…`;
}

function clientError(
  { retryAfterMs }: BackendFailure,
  status: number,
  type: string,
  code: string,
  message: string,
): ClientError {
  const mayRetry = (status === 429 || status === 503) && retryAfterMs !== undefined;
  return {
    status,
    headers: mayRetry ? { 'retry-after': String(Math.ceil(retryAfterMs / 1000)) } : {},
    body: { error: { message, type, param: null, code } },
  };
}
