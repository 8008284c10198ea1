/** The hub that is mirrored: what a repository holds at a revision, and its files. https://huggingface.co/docs/hub/api */
import * as z from 'zod';
import { StoreFailed } from '../weights/errors.ts';
import { httpStore } from '../weights/http-store.ts';
import { askFollowing, type RequestOptions } from '../weights/request.ts';
import type { StoredObject } from '../weights/store.ts';
import { type HubErrorCode, MirrorError } from './errors.ts';
import { isCommit, isOid, isSafePath } from './names.ts';

const count = z.int().min(0);

/** A file or a folder of a listing, in the Hub's own names. */
const entry = z.object({
  type: z.enum(['file', 'directory']),
  path: z.string().refine(isSafePath, 'leads out of the repository'),
  oid: z.string().refine((oid) => isOid(oid) && oid.length === 40, 'is no hash of git'),
  size: count,
  lfs: z.object({ oid: z.string().refine(isOid), size: count, pointerSize: count }).optional(),
});

/** What is kept of the answer about a repository; `siblings` are made anew. */
const info = z.looseObject({ id: z.string(), sha: z.string().refine(isCommit, 'is no commit') });

export type TreeEntry = z.output<typeof entry>;

/** A repository at a commit. */
export const snapshotSchema = z.object({ info, tree: z.array(entry) });
export type Snapshot = z.output<typeof snapshotSchema>;

export interface UpstreamOptions extends RequestOptions {
  /** Such as `https://huggingface.co`. */
  url: string;
  /** Sent to the hub alone, not to the storage that it redirects to. */
  token?: string | undefined;
}

/** Bounds of what is read into memory: an answer about a repository, and all pages of its listing. */
const MAX_JSON_BYTES = 8 * 2 ** 20;
const MAX_PAGES = 50;

const HUB_CODES: readonly string[] = [
  'RepoNotFound',
  'RevisionNotFound',
  'EntryNotFound',
  'GatedRepo',
] satisfies HubErrorCode[];

export interface Upstream {
  /** @throws MirrorError when there is none, or the hub cannot be asked. */
  snapshot(repo: string, revision: string): Promise<Snapshot>;
  /** A file from `offset` on. Null when it is not there. */
  file(repo: string, commit: string, path: string, offset: number): Promise<StoredObject | null>;
}

export function upstreamOf({ url, token, ...options }: UpstreamOptions): Upstream {
  const files = httpStore({ baseUrl: url, token, ...options });
  const headers = {
    accept: 'application/json',
    'accept-encoding': 'identity',
    ...(token !== undefined && { authorization: `Bearer ${token}` }),
  };

  async function json(what: string, address: string): Promise<{ value: unknown; next: string | undefined }> {
    let response: Response;
    try {
      response = await askFollowing(what, address, { method: 'GET', headers }, options);
    } catch (cause) {
      throw new MirrorError(502, `The hub cannot be asked for ${what}.`, { cause });
    }
    if (!response.ok) throw refusal(what, response);
    const next = /<([^>]+)>;\s*rel="?next"?/.exec(response.headers.get('link') ?? '')?.[1];
    return { value: await boundedJson(what, response), next };
  }

  return {
    async snapshot(repo, revision) {
      const what = `${repo} at ${revision}`;
      const about = await json(what, `${url}/api/models/${repo}/revision/${encodeURIComponent(revision)}`);
      const { siblings: _, ...kept } = checked(what, info, about.value);
      const tree: TreeEntry[] = [];
      let page: string | undefined = `${url}/api/models/${repo}/tree/${kept.sha}?recursive=true`;
      for (let pages = 0; page !== undefined; pages++) {
        if (pages === MAX_PAGES) throw new MirrorError(502, `${what} has more files than are mirrored.`);
        const { value, next } = await json(`the files of ${what}`, page);
        tree.push(...checked(what, z.array(entry), value));
        page = next && nextPage(url, next);
      }
      return { info: kept, tree };
    },
    file(repo, commit, path, offset) {
      const name = `${repo}/resolve/${commit}/${path.split('/').map(encodeURIComponent).join('/')}`;
      return files.get(name, offset > 0 ? { offset } : undefined);
    },
  };
}

/** The hub may know itself by another name than we do; the pages of its listing are asked for where the first one was. */
function nextPage(url: string, link: string): string {
  const { pathname, search } = new URL(link, url);
  return new URL(pathname + search, url).href;
}

function refusal(what: string, response: Response): MirrorError {
  void response.body?.cancel();
  const { status, headers } = response;
  const said = headers.get('x-error-code') ?? '';
  const code = HUB_CODES.includes(said) ? (said as HubErrorCode) : undefined;
  const cause = new StoreFailed(what, `answered ${status} ${said}`.trim(), { status });
  // Without the right token the Hub says 401 of a repository that there may be.
  if (status === 401 || status === 404) {
    return new MirrorError(404, `The hub has no ${what}, or does not show it.`, {
      code: code ?? 'RepoNotFound',
      cause,
    });
  }
  if (status === 403)
    return new MirrorError(403, `The hub does not give ${what}.`, { code: code ?? 'GatedRepo', cause });
  return new MirrorError(502, `The hub cannot be asked for ${what}.`, { cause });
}

function checked<Schema extends z.ZodType>(what: string, schema: Schema, value: unknown): z.output<Schema> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const cause = new StoreFailed(what, z.prettifyError(result.error), { status: 502 });
  throw new MirrorError(502, `What the hub says of ${what} cannot be used.`, { cause });
}

async function boundedJson(what: string, response: Response): Promise<unknown> {
  const decoder = new TextDecoder();
  let text = '';
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.byteLength;
    if (bytes > MAX_JSON_BYTES) throw new MirrorError(502, `What the hub says of ${what} is too long.`);
    text += decoder.decode(chunk, { stream: true });
  }
  try {
    return JSON.parse(text + decoder.decode());
  } catch (cause) {
    throw new MirrorError(502, `What the hub says of ${what} cannot be used.`, { cause });
  }
}
