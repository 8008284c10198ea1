/** Requests of each client over all processes, in windows that begin with a client's first request. */
import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible';
import type { RateLimitVerdict } from '../../src/middleware/rate-limit.ts';

export interface RateLimits {
  requests: number;
  periodSeconds: number;
}

export class RequestCounter {
  readonly #limits: RateLimits;
  readonly #limiter: RateLimiterMemory;

  constructor(limits: RateLimits) {
    this.#limits = limits;
    this.#limiter = new RateLimiterMemory({ points: limits.requests, duration: limits.periodSeconds });
  }

  /** This counter if it has those limits, so that a reload keeps the counts, and a new one otherwise. */
  with(limits: RateLimits): RequestCounter {
    const { requests, periodSeconds } = this.#limits;
    return requests === limits.requests && periodSeconds === limits.periodSeconds ? this : new RequestCounter(limits);
  }

  async count(client: string): Promise<RateLimitVerdict> {
    try {
      return verdict(true, await this.#limiter.consume(client));
    } catch (refusal) {
      if (refusal instanceof RateLimiterRes) return verdict(false, refusal);
      throw refusal;
    }
  }
}

function verdict(success: boolean, { remainingPoints, msBeforeNext }: RateLimiterRes): RateLimitVerdict {
  return { success, remaining: remainingPoints, resetMs: msBeforeNext };
}
