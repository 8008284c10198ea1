/**
 * Requests per client and period, counted by the platform's rate-limit binding:
 * https://developers.cloudflare.com/workers/runtime-apis/bindings/rate-limit/
 * It counts per data centre and says yes or no, not how many are left.
 */
import type { Context, Next } from 'hono';
import { ApiError } from '../http/errors.ts';

/** What is used of the binding. */
export interface RateLimiter {
  limit(options: { key: string }): Promise<{ success: boolean }>;
}

/** The longer one of the two periods that the binding knows: who waits for it is let in again for certain. */
const LONGEST_PERIOD_SECONDS = 60;

export interface RateLimitOptions {
  limiter?: RateLimiter | undefined;
  /** The binding's own settings, which it does not tell; for the headers alone. */
  requests?: number | undefined;
  periodSeconds?: number | undefined;
}

/** Throws ApiError 429 once a client has used up its period. Public paths, where nobody is named, are not counted. */
export function rateLimit({ limiter, requests, periodSeconds = LONGEST_PERIOD_SECONDS }: RateLimitOptions = {}) {
  const limitHeader: Record<string, string> =
    requests === undefined ? {} : { 'x-ratelimit-limit-requests': String(requests) };

  return async function rateLimit(c: Context, next: Next): Promise<void> {
    const client = c.get('client');
    if (limiter === undefined || client === undefined) return next();
    const { success } = await limiter.limit({ key: client });
    if (!success) {
      throw new ApiError(429, `Too many requests. Ask again in ${periodSeconds} seconds.`, {
        code: 'rate_limit_exceeded',
        headers: {
          ...limitHeader,
          'retry-after': String(periodSeconds),
          'x-ratelimit-remaining-requests': '0',
          'x-ratelimit-reset-requests': `${periodSeconds}s`,
        },
      });
    }
    await next();
    for (const [name, value] of Object.entries(limitHeader)) c.header(name, value);
  };
}
