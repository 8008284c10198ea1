/** The time one request may take, from its first byte to the last one of its answer. */
import type { Context, Next } from 'hono';
import { ApiError } from '../http/errors.ts';
import { onBodyEnd } from './body-end.ts';

/**
 * Far longer than any completion, even after a full queue; also the processor time that the Workers platform allows by
 * default.
 */
export const DEFAULT_TIME_LIMIT_MS = 30_000;

interface TimeLimitOptions {
  limitMs?: number | undefined;
}

/**
 * Answers 504 when the limit passes before the answer has begun, and aborts the signal `timeLimit` of the context in
 * any case: the engine stops, and a stream ends with the error as its last event. A body that never ends and a model
 * that never loads count too.
 */
export function timeLimit({ limitMs = DEFAULT_TIME_LIMIT_MS }: TimeLimitOptions = {}) {
  return async function timeLimit(c: Context, next: Next): Promise<void> {
    const limit = new AbortController();
    const exceeded = Promise.withResolvers<never>();
    const timer = setTimeout(() => {
      const error = new ApiError(504, `The request took longer than ${limitMs} ms.`, { code: 'time_limit_exceeded' });
      limit.abort(error);
      exceeded.reject(error);
    }, limitMs);
    c.set('timeLimit', limit.signal);
    c.set('timeLimitEndsMs', Date.now() + limitMs);
    await Promise.race([next(), exceeded.promise]);
    onBodyEnd(c, () => clearTimeout(timer));
  };
}
