/**
 * Requests per client and period, counted by the platform: on Cloudflare by its binding, per data centre
 * (https://developers.cloudflare.com/workers/runtime-apis/bindings/rate-limit/), in plain workerd by the supervisor,
 * over all processes.
 */
import type { Context, Next } from 'hono';
import { ApiError } from '../http/errors.ts';
import { METRICS_PATH } from './authentication.ts';

/** The part of the binding that is used, and the values that only the supervisor adds. */
export interface RateLimiter {
  limit(options: { key: string }): Promise<RateLimitVerdict>;
}

export interface RateLimitVerdict {
  success: boolean;
  /** Requests that are left in the period. */
  remaining?: number;
  /** Until the period ends. */
  resetMs?: number;
}

/** The longer of the two periods of the binding: a client that waits for it is certainly accepted again. */
export const DEFAULT_PERIOD_SECONDS = 60;

export interface RateLimitOptions {
  limiter?: RateLimiter | undefined;
  /** The settings of the limiter, which it does not report; only for the headers. */
  requests?: number | undefined;
  periodSeconds?: number | undefined;
}

/**
 * Throws ApiError 429 when a client has used up its period. Public paths, which have no key name, are not counted, nor
 * is /metrics, which has to be readable under load.
 */
export function rateLimit({ limiter, requests, periodSeconds = DEFAULT_PERIOD_SECONDS }: RateLimitOptions = {}) {
  return async function rateLimit(c: Context, next: Next): Promise<void> {
    const client = c.get('client');
    if (limiter === undefined || client === undefined || c.req.path === METRICS_PATH) return next();
    const { success, remaining, resetMs } = await limiter.limit({ key: client });
    const resetSeconds = resetMs === undefined ? undefined : Math.max(1, Math.ceil(resetMs / 1000));
    if (!success) {
      const waitSeconds = resetSeconds ?? periodSeconds;
      throw new ApiError(429, `Too many requests. Ask again in ${waitSeconds} seconds.`, {
        code: 'rate_limit_exceeded',
        headers: { ...headersOf(requests, 0, waitSeconds), 'retry-after': String(waitSeconds) },
      });
    }
    await next();
    for (const [name, value] of Object.entries(headersOf(requests, remaining, resetSeconds))) c.header(name, value);
  };
}

/** OpenAI's headers, those of which the value is known: https://platform.openai.com/docs/guides/rate-limits */
function headersOf(limit?: number, remaining?: number, resetSeconds?: number): Record<string, string> {
  return {
    ...(limit !== undefined && { 'x-ratelimit-limit-requests': String(limit) }),
    ...(remaining !== undefined && { 'x-ratelimit-remaining-requests': String(remaining) }),
    ...(resetSeconds !== undefined && { 'x-ratelimit-reset-requests': `${resetSeconds}s` }),
  };
}
