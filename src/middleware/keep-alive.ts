/** Keeps a request's context alive for work that others wait for, where the platform ends it with the request. */
import type { Context } from 'hono';
import type { KeepAlive } from '../engine/provider.ts';

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
