/**
 * One request to a store or an origin: retried while the failure may be temporary; redirects are followed without the
 * key.
 */
import { StoreFailed } from './errors.ts';

export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

export interface RequestOptions {
  fetch?: Fetch;
  /** Milliseconds before the first repetition; doubles with each one. */
  retryDelayMs?: number;
  /** Milliseconds until the headers of an answer. */
  timeoutMs?: number;
}

/**
 * With the wait doubling from 200 ms these take 3 s: enough for a store that restarts a process, too short to notice in
 * a cold start.
 */
const REPETITIONS = 4;
export const RETRY_DELAY_MS = 200;

/** Longer than any store that works needs, shorter than clients wait. */
const ANSWER_TIMEOUT_MS = 20_000;

/** Longer waits are left to the caller. */
const LONGEST_WAIT_MS = 2_000;

/** A file host redirects to its storage, and that perhaps to a region. */
const MAX_REDIRECTS = 5;

const REDIRECTS: readonly number[] = [301, 302, 303, 307, 308];

/**
 * The answer to the request that `make` builds, each time again because signatures expire. 429 and 5xx are retried,
 * except those that ask for a long wait.
 * @throws StoreFailed when there is no other answer.
 */
export async function ask(
  what: string,
  make: () => Promise<{ url: string; init: RequestInit }>,
  {
    fetch: send = (url, init) => fetch(url, init),
    retryDelayMs = RETRY_DELAY_MS,
    timeoutMs = ANSWER_TIMEOUT_MS,
  }: RequestOptions,
): Promise<Response> {
  for (let repetition = 0; ; repetition++) {
    const { url, init } = await make();
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(new Error(`no answer in ${timeoutMs} ms`)), timeoutMs);
    let waitMs = retryDelayMs * 2 ** repetition;
    try {
      const response = await send(url, { ...init, redirect: 'manual', signal: late.signal });
      const { status } = response;
      const retryAfterSeconds = retryAfter(response.headers);
      const failure = new StoreFailed(what, `answered ${status}`, { status, retryAfterSeconds });
      if (!failure.isPassing) return response;
      await response.body?.cancel();
      throw failure;
    } catch (error) {
      const failure = error instanceof StoreFailed ? error : unanswered(what, error);
      const askedMs = (failure.retryAfterSeconds ?? 0) * 1000;
      if (repetition === REPETITIONS || askedMs > LONGEST_WAIT_MS) throw failure;
      waitMs = Math.max(waitMs, askedMs);
    } finally {
      clearTimeout(timer);
    }
    await new Promise((resolve) => setTimeout(resolve, waitMs));
  }
}

/**
 * Seconds to wait according to an answer: `Retry-After`, in seconds or as a date, or the rest of the window of
 * `RateLimit` (https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/), which the Hub sends with 429.
 */
export function retryAfter(headers: Headers, nowMs: number = Date.now()): number | undefined {
  const text = headers.get('retry-after')?.trim() ?? /\bt=(\d+)/.exec(headers.get('ratelimit') ?? '')?.[1];
  if (text === undefined) return undefined;
  if (/^\d+$/.test(text)) return Number(text);
  const date = Date.parse(text);
  return Number.isNaN(date) ? undefined : Math.max(0, Math.ceil((date - nowMs) / 1000));
}

/**
 * Like `ask`, but follows redirects. The authorization is only sent to its own origin, and a redirect from https to
 * http or to another protocol is refused.
 * @param onRedirect is called with each answer that redirects.
 */
export async function askFollowing(
  what: string,
  url: string,
  init: RequestInit & { headers: Record<string, string> },
  options: RequestOptions & { onRedirect?: (response: Response) => void },
): Promise<Response> {
  let target = new URL(url);
  let { headers } = init;
  for (let hops = 0; hops <= MAX_REDIRECTS; hops++) {
    const request = { url: target.href, init: { ...init, headers } };
    const response = await ask(what, async () => request, options);
    if (!REDIRECTS.includes(response.status)) return response;
    options.onRedirect?.(response);
    await response.body?.cancel();
    const next = URL.parse(response.headers.get('location') ?? '', target);
    const isAllowed = next?.protocol === 'https:' || (next?.protocol === 'http:' && target.protocol === 'http:');
    if (next === null || !isAllowed) throw new StoreFailed(what, 'redirects to where it must not', { status: 502 });
    if (next.origin !== target.origin) headers = withoutAuthorization(headers);
    target = next;
  }
  throw new StoreFailed(what, `redirects more than ${MAX_REDIRECTS} times`, { status: 502 });
}

function withoutAuthorization(headers: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => name.toLowerCase() !== 'authorization'));
}

function unanswered(what: string, cause: unknown): StoreFailed {
  return new StoreFailed(what, 'got no answer', { cause });
}
