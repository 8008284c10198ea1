import { describe, expect, it } from 'vitest';
import { RequestCounter } from '../../scripts/serve/rate-limits.ts';

describe('a counter of requests', () => {
  it('should accept each client up to the limit, and say when the next period begins', async () => {
    const counter = new RequestCounter({ requests: 2, periodSeconds: 100 });
    expect(await counter.count('laptop')).toMatchObject({ success: true, remaining: 1 });
    expect(await counter.count('laptop')).toMatchObject({ success: true, remaining: 0 });
    const { success, remaining, resetMs } = await counter.count('laptop');
    expect({ success, remaining }).toEqual({ success: false, remaining: 0 });
    expect(resetMs).toBeGreaterThan(50_000);
    expect(resetMs).toBeLessThanOrEqual(100_000);
    expect(await counter.count('constructor')).toMatchObject({ success: true, remaining: 1 });
  });

  it('should go on where its limits stay', async () => {
    const limits = { requests: 1, periodSeconds: 100 };
    const counter = new RequestCounter(limits);
    await counter.count('laptop');
    expect(await counter.with({ ...limits }).count('laptop')).toMatchObject({ success: false });
    expect(await counter.with({ ...limits, requests: 3 }).count('laptop')).toMatchObject({ success: true });
  });
});
