/**
 * Authentication. With keys configured, a request needs one, as `Authorization: Bearer KEY` or as `x-api-key: KEY`.
 * Without keys, only requests from this machine to this machine are accepted, so that a fresh copy works immediately
 * and a forgotten setting opens nothing.
 */
import type { Context, Next } from 'hono';
import { ApiError } from '../http/errors.ts';
import { type ApiKey, findKey } from './api-keys.ts';

/** What anybody may ask: what this is and how to ask it, whether it runs, and whether it can answer. */
export const PUBLIC_PATHS: readonly string[] = ['/', '/health', '/ready', '/openapi.json', '/docs'];

/** The page of counters, which asks for a key and is not limited. */
export const METRICS_PATH = '/metrics';

/** Name under which requests without a key are counted. */
export const LOOPBACK_CLIENT = 'loopback';

const LOOPBACK_HOST = /^(localhost|([\w-]+\.)+localhost|127(\.\d+){3}|\[::1\])$/;
const LOOPBACK_ADDRESS = /^(127(\.\d+){3}|::1|::ffff:127(\.\d+){3})$/;

/** Headers in which the platform and reverse proxies send the client's address. */
export const ADDRESS_HEADERS: readonly string[] = ['cf-connecting-ip', 'x-forwarded-for', 'x-real-ip', 'forwarded'];

declare module 'hono' {
  interface ContextVariableMap {
    /** Name of the key, or `loopback`; undefined on public paths. */
    client: string | undefined;
  }
}

interface AuthenticationOptions {
  keys?: readonly ApiKey[];
  publicPaths?: readonly string[];
}

/**
 * Throws ApiError 401 for a missing or wrong key, 403 for a key that does not open this path, and 403 from elsewhere
 * while there are no keys.
 */
export function authentication({ keys = [], publicPaths = PUBLIC_PATHS }: AuthenticationOptions = {}) {
  return async function authentication(c: Context, next: Next): Promise<void> {
    if (!publicPaths.includes(c.req.path)) {
      c.set('client', keys.length > 0 ? await keyNameOf(c, keys) : requireLoopback(c));
    }
    await next();
  };
}

async function keyNameOf(c: Context, keys: readonly ApiKey[]): Promise<string> {
  const presented = presentedKey(c);
  if (presented === undefined) {
    throw unauthorized('Send an API key as "Authorization: Bearer KEY" or "x-api-key: KEY".', 'missing_api_key');
  }
  const key = await findKey(keys, presented);
  if (key === undefined) throw unauthorized('The API key is not one of this service.', 'invalid_api_key');
  if (key.scope === 'metrics' && c.req.path !== METRICS_PATH) {
    throw new ApiError(403, `The API key '${key.name}' opens ${METRICS_PATH} alone.`, { code: 'key_not_permitted' });
  }
  return key.name;
}

function presentedKey(c: Context): string | undefined {
  const bearer = /^Bearer +(\S+)$/i.exec(c.req.header('authorization') ?? '');
  return bearer?.[1] ?? c.req.header('x-api-key');
}

function unauthorized(message: string, code: string): ApiError {
  return new ApiError(401, message, { code, headers: { 'www-authenticate': 'Bearer realm="quicksilver"' } });
}

/**
 * The host in the URL is the one that the client asked for. This also refuses web pages that resolve their own name to
 * this machine. A proxy may send a loopback host, so the client address that it reports must be one of this machine
 * too.
 */
function requireLoopback(c: Context): string {
  const addresses = ADDRESS_HEADERS.map((name) => c.req.header(name)).filter((address) => address !== undefined);
  const isLocal =
    LOOPBACK_HOST.test(new URL(c.req.url).hostname) && addresses.every((address) => LOOPBACK_ADDRESS.test(address));
  if (isLocal) return LOOPBACK_CLIENT;
  throw new ApiError(403, 'This service has no API keys configured, so it answers its own machine only.', {
    code: 'no_api_keys_configured',
  });
}
