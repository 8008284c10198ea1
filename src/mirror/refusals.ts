/** Translates error answers of the hub into answers of the mirror: the same ones, if they concern the client. */
import { StoreFailed } from '../weights/errors.ts';
import { retryAfter } from '../weights/request.ts';
import { type HubErrorCode, MirrorError } from './errors.ts';

const HUB_CODES: readonly string[] = [
  'RepoNotFound',
  'RevisionNotFound',
  'EntryNotFound',
  'GatedRepo',
] satisfies HubErrorCode[];

/** The Hub's own reasons are a sentence or two. */
const MAX_REASON_CHARACTERS = 500;

interface RefusalDefaults {
  /** Of a 401, 404 or 410 without a code. */
  missing: HubErrorCode;
  /** Of a 403 without a code. */
  forbidden?: HubErrorCode;
  commit?: string;
}

/** Of an answer that is no success. */
export function refusal(
  what: string,
  response: Response,
  { missing, forbidden, commit }: RefusalDefaults,
): MirrorError {
  void response.body?.cancel();
  const { status, headers } = response;
  const said = headers.get('x-error-code') ?? '';
  const code = HUB_CODES.includes(said) ? (said as HubErrorCode) : undefined;
  const reason = headers.get('x-error-message')?.slice(0, MAX_REASON_CHARACTERS);
  const cause = new StoreFailed(what, `answered ${status} ${said}`.trim(), { status });
  if (status === 403 || code === 'GatedRepo') {
    return new MirrorError(403, reason ?? `The hub does not give ${what}.`, { code: code ?? forbidden, cause });
  }
  // Without a valid token the Hub answers 401 for a repository that may exist. Our clients would take 401 to mean that
  // their own key is wrong.
  if (status === 401 || status === 404 || status === 410) {
    return new MirrorError(404, `The hub has no ${what}, or does not show it.`, {
      code: code ?? missing,
      commit,
      cause,
    });
  }
  const failed = new StoreFailed(what, `answered ${status}`, { status, retryAfterSeconds: retryAfter(headers) });
  return unanswered(what, failed);
}

/** For a hub that did not answer, or asked for a wait. */
export function unanswered(what: string, cause: unknown): MirrorError {
  const { status, retryAfterSeconds } = cause instanceof StoreFailed ? cause : {};
  const options = { retryAfterSeconds, cause };
  if (status === 429) return new MirrorError(429, `The hub is asked for too much: ${what}.`, options);
  return new MirrorError(status === 503 ? 503 : 502, `The hub cannot be asked for ${what}.`, options);
}
