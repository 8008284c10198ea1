import { describe, expect, it } from 'vitest';
import type { RateLimiter } from '../../src/middleware/rate-limit.ts';
import { errorOf } from '../support/requests.ts';
import { keysOf, serviceWith } from './support.ts';

/** Lets each key through so many times. */
function limiterOf(requests: number): RateLimiter & { counts: Map<string, number> } {
  const counts = new Map<string, number>();
  return {
    counts,
    limit: async ({ key }) => {
      counts.set(key, (counts.get(key) ?? 0) + 1);
      return { success: counts.get(key)! <= requests };
    },
  };
}

describe('a rate limit', () => {
  it('should answer 429 beyond it and say when to ask again', async () => {
    const rateLimit = { limiter: limiterOf(1), requests: 1, periodSeconds: 10 };
    const { complete, engine } = serviceWith({ rateLimit });
    const first = await complete();
    expect(first.status).toBe(200);
    expect(first.headers.get('x-ratelimit-limit-requests')).toBe('1');
    const second = await complete();
    expect(Object.fromEntries(second.headers)).toMatchObject({
      'retry-after': '10',
      'x-ratelimit-limit-requests': '1',
      'x-ratelimit-remaining-requests': '0',
      'x-ratelimit-reset-requests': '10s',
    });
    expect(await errorOf(second)).toMatchObject({ status: 429, type: 'rate_limit_error', code: 'rate_limit_exceeded' });
    expect(engine.requests).toHaveLength(1);
  });

  it('should name no limit that it does not know, and wait for the longest period', async () => {
    const { complete } = serviceWith({ rateLimit: { limiter: limiterOf(0) } });
    const response = await complete();
    expect(response.status).toBe(429);
    expect(response.headers.get('retry-after')).toBe('60');
    expect(response.headers.has('x-ratelimit-limit-requests')).toBe(false);
  });

  it('should count by the name of the key', async () => {
    const { texts, keys } = await keysOf('laptop', 'office');
    const limiter = limiterOf(1);
    const { complete } = serviceWith({ keys, rateLimit: { limiter } });
    expect((await complete({}, { 'x-api-key': texts[0]! })).status).toBe(200);
    expect((await complete({}, { 'x-api-key': texts[0]! })).status).toBe(429);
    expect((await complete({}, { 'x-api-key': texts[1]! })).status).toBe(200);
    expect((await complete({}, { 'x-api-key': 'wrong' })).status).toBe(401);
    expect(Object.fromEntries(limiter.counts)).toEqual({ laptop: 2, office: 1 });
  });

  it('should say what is left, and when the period ends, where the limiter knows it', async () => {
    const verdicts = [
      { success: true, remaining: 4, resetMs: 1500 },
      { success: false, remaining: 0, resetMs: 1 },
    ];
    const { complete } = serviceWith({ rateLimit: { limiter: { limit: async () => verdicts.shift()! }, requests: 5 } });
    expect(Object.fromEntries((await complete()).headers)).toMatchObject({
      'x-ratelimit-limit-requests': '5',
      'x-ratelimit-remaining-requests': '4',
      'x-ratelimit-reset-requests': '2s',
    });
    const refused = await complete();
    expect(refused.status).toBe(429);
    expect(refused.headers.get('retry-after')).toBe('1');
  });

  it('should not count who looks at the metrics', async () => {
    const { app } = serviceWith({ rateLimit: { limiter: limiterOf(0) } });
    expect((await app.request('/metrics')).status).toBe(200);
  });

  it('should not count what asks for health', async () => {
    const limiter = limiterOf(0);
    const { app } = serviceWith({ rateLimit: { limiter } });
    expect((await app.request('/health')).status).toBe(200);
    expect(limiter.counts.size).toBe(0);
  });
});
