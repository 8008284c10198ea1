import { describe, expect, it } from 'vitest';
import { BackendFailure } from '../../src/backend/errors.ts';
import { isRetryable, retryAfterMs, retryDelayMs } from '../../src/backend/retry.ts';

const refused = (status: number, retryAfterMs?: number) =>
  new BackendFailure('b', 'refused', 'x', { status, ...(retryAfterMs !== undefined && { retryAfterMs }) });

describe('retries', () => {
  it('should be done for failures that may disappear within a moment', () => {
    expect([429, 500, 502, 503, 504].every((status) => isRetryable(refused(status)))).toBe(true);
    expect([400, 401, 404, 408, 413, 501].some((status) => isRetryable(refused(status)))).toBe(false);
    expect(isRetryable(new BackendFailure('b', 'unreachable', 'x'))).toBe(true);
    expect(isRetryable(new BackendFailure('b', 'timeout', 'x'))).toBe(false);
    expect(isRetryable(new Error('x'))).toBe(false);
  });

  it('should wait twice as long each time, up to a bound, less a random half', () => {
    expect([1, 2, 3, 9].map((retry) => retryDelayMs(retry, 100, refused(500), 0))).toEqual([100, 200, 400, 8000]);
    expect(retryDelayMs(2, 100, refused(500), 0.5)).toBe(150);
    expect(retryDelayMs(2, 100, refused(500), 0.999)).toBeGreaterThan(100);
  });

  it('should wait as long as the backend says', () => {
    expect(retryDelayMs(3, 100, refused(429, 7), 0.5)).toBe(7);
  });

  it.each([
    [{ 'retry-after-ms': '250' }, 250],
    [{ 'retry-after': '2' }, 2000],
    [{ 'retry-after': '0.5' }, 500],
    [{ 'retry-after-ms': '250', 'retry-after': '2' }, 250],
    [{ 'retry-after-ms': 'soon', 'retry-after': '2' }, 2000],
    [{ 'retry-after': 'Thu, 01 Jan 2026 00:00:10 GMT' }, 10_000],
    [{ 'retry-after': 'Wed, 31 Dec 2025 00:00:00 GMT' }, 0],
    [{ 'retry-after': '-5' }, undefined],
    [{ 'retry-after': 'soon' }, undefined],
    [{}, undefined],
  ])('should read %j', (headers, expected) => {
    expect(retryAfterMs(new Headers(headers as Record<string, string>), Date.UTC(2026, 0, 1))).toBe(expected);
  });
});
