/**
 * Requests of editors that are under way. With each key an editor asks again and forgets its former request, but the
 * runtime notices only at the next write that a client has gone, and behind some proxies never. So a request that
 * continues another one of its client replaces it.
 *
 * Only requests with the editor rules take part: who asks for them shows one completion at one cursor. Each isolate
 * knows its own requests.
 */
import type { Context } from 'hono';
import { detachedText } from '../../detached-text.ts';
import { ApiError } from '../../http/errors.ts';
import { ADDRESS_HEADERS } from '../../middleware/authentication.ts';
import type { Cursor } from '../editor/lines.ts';
import { isTypedOn } from '../editor/typed-on.ts';

/**
 * gRPC's CANCELLED over HTTP, "typically by the caller": https://cloud.google.com/apis/design/errors. No client asks
 * again by itself after it, as many do after 409.
 */
const REPLACED_STATUS = 499;
export const REPLACED = 'replaced';

/** Time in which a replaced request finds out; about a step of a small model. */
const LOOK_AGAIN_MS = 5;

/** More than wait and are served at a time. In workerd a request whose client has gone may never leave. */
const MAX_OPEN = 256;

/** Characters that are kept of each side, more than are compared. */
const KEPT = 512;

interface OpenRequest extends Cursor {
  /** Texts that are continued by other clients, or by another model, are none of this request's business. */
  whose: string;
  isReplaced: boolean;
}

declare module 'hono' {
  interface ContextVariableMap {
    /** Set by the app, for all of its requests the same. */
    openRequests: OpenRequests | undefined;
  }
}

export class OpenRequests {
  /** Oldest first. */
  #open: OpenRequest[] = [];

  /** Adds a request, and marks those that it continues: they look for themselves, each in its own context. */
  enter(whose: string, { prefix, suffix }: Cursor): OpenRequest {
    const [before, after] = [detachedText(prefix.slice(-KEPT)), detachedText(suffix.slice(0, KEPT))];
    const entered = { whose, prefix: before, suffix: after, isReplaced: false };
    for (const open of this.#open) {
      if (open.whose === whose && isTypedOn(open, entered)) open.isReplaced = true;
    }
    this.#open = [...this.#open.filter(({ isReplaced }) => !isReplaced), entered].slice(-MAX_OPEN);
    return entered;
  }

  leave(request: OpenRequest): void {
    this.#open = this.#open.filter((open) => open !== request);
  }
}

/** A request that a newer one may replace. */
export interface Replaceable {
  /** Aborts with an ApiError when that has happened. */
  signal: AbortSignal;
  /** To be called when the request has ended. */
  end(): void;
}

/** Enters the request of `c` at a cursor. */
export function replaceable(c: Context, model: string, cursor: Cursor): Replaceable {
  const replaced = new AbortController();
  const openRequests = c.get('openRequests');
  if (openRequests === undefined) return { signal: replaced.signal, end: () => {} };
  const open = openRequests.enter(JSON.stringify([...clientOf(c), model]), cursor);
  // Its own timer: in the Workers runtime no request may abort what belongs to another one.
  const timer = setInterval(() => {
    if (!open.isReplaced) return;
    clearInterval(timer);
    replaced.abort(replacedError());
  }, LOOK_AGAIN_MS);
  const end = () => {
    clearInterval(timer);
    openRequests.leave(open);
  };
  return { signal: replaced.signal, end };
}

/** The error of a replaced request; undefined for any other. */
export function asReplaced(error: unknown): ApiError | undefined {
  return error instanceof ApiError && error.code === REPLACED ? error : undefined;
}

function replacedError(): ApiError {
  return new ApiError(REPLACED_STATUS, 'A newer request of this client continues this one, and has replaced it.', {
    code: REPLACED,
    headers: { 'x-should-retry': 'false' },
  });
}

/** The key, and what is known of the program and the machine: several people may share a key. */
function clientOf(c: Context): (string | undefined)[] {
  const names = ['user-agent', ...ADDRESS_HEADERS];
  return [c.get('client'), ...names.map((name) => c.req.header(name))];
}
