/**
 * Ends a process without breaking answers: while it drains, open requests are finished and new ones are refused, with
 * an error by which a client or a balancer knows to ask elsewhere.
 */
import type { Context, Next } from 'hono';
import { ApiError } from '../http/errors.ts';
import { onBodyEnd } from './body-end.ts';

/** How a draining process is watched to its end. */
const WATCHED_PATHS: readonly string[] = ['/health', '/metrics'];

/** If there is another process it answers immediately; otherwise a new one has started by then. */
const RETRY_AFTER_SECONDS = 2;

/** Open requests in this isolate, and whether new ones are accepted. */
export class Drain {
  #draining = false;
  #inFlight = 0;

  get draining(): boolean {
    return this.#draining;
  }

  /** Requests whose last byte has not been made yet. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** From now on new requests are refused. This cannot be undone. */
  start(): void {
    this.#draining = true;
  }

  /** Counts a request until the function that it returns is called. */
  enter(): () => void {
    this.#inFlight++;
    let left = false;
    return () => {
      if (!left) this.#inFlight--;
      left = true;
    };
  }
}

/** Throws ApiError 503 for a request that arrives while `drain` is draining; counts all others. */
export function draining(drain: Drain) {
  return async function draining(c: Context, next: Next): Promise<void> {
    if (WATCHED_PATHS.includes(c.req.path)) return next();
    if (drain.draining) {
      throw new ApiError(503, 'The service is shutting down.', {
        code: 'shutting_down',
        headers: { 'retry-after': String(RETRY_AFTER_SECONDS), connection: 'close' },
      });
    }
    const leave = drain.enter();
    await next();
    onBodyEnd(c, leave);
  };
}
