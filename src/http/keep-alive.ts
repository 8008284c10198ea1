/** Keeps a request's context alive for work that others wait for, where the platform ends it with the request. */
import type { Context } from 'hono';

/**
 * Keeps the runtime's request context alive until the promise settles. Work that other requests wait for needs it: when
 * a client disconnects, the runtime would otherwise drop the work with that client's context, and the others would
 * hang.
 */
export type KeepAlive = (work: Promise<unknown>) => void;

export function keepAliveOf(c: Context): KeepAlive {
  return (work) => {
    const settled = work.then(
      () => undefined,
      () => undefined,
    );
    executionContextOf(c)?.waitUntil(settled);
  };
}

/** Outside the Workers runtime there is no execution context, and Hono's getter throws. */
function executionContextOf(c: Context): Context['executionCtx'] | undefined {
  try {
    return c.executionCtx;
  } catch {
    return undefined;
  }
}
