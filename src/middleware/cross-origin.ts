/** Which web pages may call the service from a browser. None unless configured. */
import type { MiddlewareHandler } from 'hono';
import { cors } from 'hono/cors';

/** A day: the longest time for which a browser caches a preflight. */
const MAX_AGE_SECONDS = 86_400;

/** Headers of ours that a page may read. */
const EXPOSED_HEADERS = [
  'retry-after',
  'server-timing',
  'x-quicksilver-attempts',
  'x-quicksilver-backend',
  'x-quicksilver-route',
  'x-ratelimit-limit-requests',
  'x-ratelimit-remaining-requests',
  'x-ratelimit-reset-requests',
  'x-request-id',
];

interface CrossOriginOptions {
  /** Origins such as `https://editor.example`, or only `*` for all. */
  origins?: readonly string[];
}

/** Answers preflight requests and sets the headers for the origins. A key is sent in a header, never in a cookie. */
export function crossOrigin({ origins = [] }: CrossOriginOptions = {}): MiddlewareHandler {
  if (origins.length === 0) return (_, next) => next();
  return cors({
    origin: origins.includes('*') ? '*' : [...origins],
    allowMethods: ['GET', 'HEAD', 'POST'],
    exposeHeaders: EXPOSED_HEADERS,
    maxAge: MAX_AGE_SECONDS,
  });
}
