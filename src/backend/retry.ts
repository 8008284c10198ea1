/** When a failed attempt is worth another one, and after how long. */
import { BackendFailure } from './errors.ts';

const RETRYABLE_STATUS = new Set([429, 500, 502, 503, 504]);

/** The limit of the exponential growth, because a user waits for the answer. */
const MAX_BACKOFF_MS = 8_000;

/** Whether the failure may disappear within a moment. A timeout may not: the time of the request is used up. */
export function isRetryable(error: unknown): error is BackendFailure {
  if (!(error instanceof BackendFailure)) return false;
  if (error.kind === 'refused') {
    return error.shouldRetry ?? (RETRYABLE_STATUS.has(error.status ?? 0) && !error.isSpentQuota);
  }
  return error.kind === 'unreachable';
}

/**
 * The wait before retry number `retry` (from 1): what the backend asked for, otherwise a doubling delay minus a random
 * part of up to one half, so that clients that failed together do not return together.
 * @param random in [0, 1)
 */
export function retryDelayMs(retry: number, baseMs: number, failure: BackendFailure, random: number): number {
  if (failure.retryAfterMs !== undefined) return failure.retryAfterMs;
  const delayMs = Math.min(baseMs * 2 ** (retry - 1), MAX_BACKOFF_MS);
  return delayMs * (1 - random / 2);
}

/**
 * Reads `retry-after-ms`, or `retry-after` as seconds or as a date (RFC 9110, 10.2.3). Undefined when there is no sense
 * in it.
 */
export function retryAfterMs(headers: Headers, nowMs: number): number | undefined {
  const exact = headers.get('retry-after-ms');
  if (exact !== null && isNumber(exact)) return Number(exact);
  const after = headers.get('retry-after');
  if (after === null) return undefined;
  if (isNumber(after)) return Number(after) * 1000;
  // Date.parse finds a date even in a negative number.
  const dateMs = /^[a-z]{3}/i.test(after) ? Date.parse(after) : Number.NaN;
  return Number.isNaN(dateMs) ? undefined : Math.max(0, dateMs - nowMs);
}

function isNumber(text: string): boolean {
  return /^\s*\d+(\.\d+)?\s*$/.test(text);
}
