/**
 * The end of a process without the end of an answer: once it is draining, what is under way is finished and what is new
 * is refused, by name, so that a client or a balancer asks elsewhere.
 */
import type { Context, Next } from 'hono';
import { ApiError } from '../http/errors.ts';
import { onBodyEnd } from './body-end.ts';

/** How a draining process is watched to its end. */
const WATCHED_PATHS: readonly string[] = ['/health', '/metrics'];

/** Another process answers at once where there is one, and a new one has begun by then where there is not. */
const RETRY_AFTER_SECONDS = 2;

/** What is under way in this isolate, and whether more may come. */
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

  /** From now on new requests are refused. There is no way back. */
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

/** Throws ApiError 503 for a request that comes while `drain` is draining; counts all others. */
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
