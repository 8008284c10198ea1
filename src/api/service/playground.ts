/**
 * The playground: a page at / for browsers, and its files. They are static assets of the platform (`playground/` builds
 * them); their types and headers are set here, so that they are the same on every platform.
 */
import type { Context, Next } from 'hono';
import { accepts } from 'hono/accepts';

/** What is used of the platform's binding of static assets. */
export interface Assets {
  fetch(request: Request): Promise<Response>;
}

/** The page at /, for clients that ask for HTML. */
const PAGE = '/index.html';

/** Vite puts a hash of its content into the name of each. */
const HASHED = '/assets/';

/** The other files of the page, whose names stay. */
const NAMED: readonly string[] = ['/service-worker.js', '/icon.svg', '/playground.webmanifest'];

const TYPES: Readonly<Record<string, string>> = {
  css: 'text/css; charset=utf-8',
  html: 'text/html; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  svg: 'image/svg+xml',
  wasm: 'application/wasm',
  webmanifest: 'application/manifest+json',
};

/**
 * Own scripts, own styles, own images, and WebAssembly for the denoiser. The page may ask other services, by an address
 * that its user enters: over TLS, or on the user's machine.
 */
export const POLICY = [
  "default-src 'none'",
  "script-src 'self' 'wasm-unsafe-eval'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self' https: http://127.0.0.1:* http://localhost:*",
  "worker-src 'self'",
  "manifest-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

/** Answers what belongs to the page, and leaves the rest; without assets it leaves everything. */
export function playground(assets: Assets | undefined) {
  return async function playground(c: Context, next: Next): Promise<Response | undefined> {
    const path = assets && pathOf(c);
    if (path === undefined || assets === undefined) {
      await next();
      return undefined;
    }
    const asset = await assets.fetch(new Request(new URL(path, c.req.url), { headers: condition(c) }));
    if (asset.status !== 200 && asset.status !== 304) {
      await next();
      return undefined;
    }
    const type = TYPES[path.split('.').at(-1)!];
    return new Response(c.req.method === 'HEAD' ? null : asset.body, {
      status: asset.status,
      headers: {
        ...(type !== undefined && { 'content-type': type }),
        ...(asset.headers.has('etag') && { etag: asset.headers.get('etag')! }),
        'cache-control': path.startsWith(HASHED) ? 'public, max-age=31536000, immutable' : 'no-cache',
        'content-security-policy': POLICY,
        'cross-origin-opener-policy': 'same-origin',
        'referrer-policy': 'no-referrer',
        'x-content-type-options': 'nosniff',
        ...(path === PAGE && { vary: 'accept' }),
      },
    });
  };
}

/** The asset that a request is for. */
function pathOf(c: Context): string | undefined {
  const { method, path } = c.req;
  if (method !== 'GET' && method !== 'HEAD') return undefined;
  if (path === '/') return wantsPage(c) ? PAGE : undefined;
  return path.startsWith(HASHED) || NAMED.includes(path) ? path : undefined;
}

/** Programs that do not ask for HTML get a description of the service as JSON. */
function wantsPage(c: Context): boolean {
  const supports = ['application/json', 'text/html'];
  return accepts(c, { header: 'Accept', supports, default: 'application/json' }) === 'text/html';
}

function condition(c: Context): Record<string, string> {
  const etag = c.req.header('if-none-match');
  return etag === undefined ? {} : { 'if-none-match': etag };
}
