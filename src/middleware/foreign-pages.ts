/**
 * Keeps web pages of other origins from posting to the service. A browser lets any page send a body without a preflight
 * if its media type is one that a form could have, or if it has none ("simple requests",
 * https://fetch.spec.whatwg.org/#simple-header); such a request still names its origin. JSON needs a preflight, which
 * src/middleware/cross-origin.ts answers.
 */
import type { Context, Next } from 'hono';
import { ApiError } from '../http/errors.ts';

/** What a browser does not send to another origin without asking. */
const ASKED_FIRST = /^application\/([\w.-]+\+)?json\s*(;|$)/i;

/** Values by which a browser says that a page of the service itself, or the user, sent the request. */
const OWN_SITES: readonly (string | undefined)[] = [undefined, 'same-origin', 'none'];

interface ForeignPagesOptions {
  /** Origins that may call, or `*`. */
  origins?: readonly string[];
}

/** Throws ApiError 403 for a body that a page of another origin could have sent unasked. */
export function foreignPages({ origins = [] }: ForeignPagesOptions = {}) {
  return async function foreignPages(c: Context, next: Next): Promise<void> {
    if (c.req.method === 'POST' && !ASKED_FIRST.test(c.req.header('content-type') ?? '') && isForeign(c, origins)) {
      throw new ApiError(403, 'Web pages of this origin may not call the service.', { code: 'origin_not_allowed' });
    }
    await next();
  };
}

function isForeign(c: Context, origins: readonly string[]): boolean {
  const origin = c.req.header('origin');
  if (origin === undefined) return !OWN_SITES.includes(c.req.header('sec-fetch-site'));
  return !origins.includes('*') && !origins.includes(origin) && origin !== new URL(c.req.url).origin;
}
