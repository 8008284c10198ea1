/**
 * The hub that is mirrored: the contents of a repository at a revision, and its files.
 * https://huggingface.co/docs/hub/api
 */
import * as z from 'zod';
import { StoreFailed } from '../weights/errors.ts';
import { rangeHeader, sliced, toldSize } from '../weights/range.ts';
import { askFollowing, type RequestOptions } from '../weights/request.ts';
import type { StoredObject } from '../weights/store.ts';
import { MirrorError } from './errors.ts';
import { isCommit, isOid, isSafePath } from './names.ts';
import { refusal, unanswered } from './refusals.ts';

const count = z.int().min(0);

/** A file or a folder of a listing, in the Hub's own names. */
const entry = z.object({
  type: z.enum(['file', 'directory']),
  path: z.string().refine(isSafePath, 'leads out of the repository'),
  oid: z.string().refine((oid) => isOid(oid) && oid.length === 40, 'is no hash of git'),
  size: count,
  lfs: z.object({ oid: z.string().refine(isOid), size: count, pointerSize: count }).optional(),
});

/** The stored part of the answer about a repository; `siblings` are built again. */
const info = z.looseObject({ id: z.string(), sha: z.string().refine(isCommit, 'is no commit') });

export type TreeEntry = z.output<typeof entry>;

/** A repository at a commit. */
export const snapshotSchema = z.object({ info, tree: z.array(entry) });
export type Snapshot = z.output<typeof snapshotSchema>;

export interface UpstreamOptions extends RequestOptions {
  /** Such as `https://huggingface.co`. */
  url: string;
  /** Only sent to the hub, not to the storage that it redirects to. */
  token?: string | undefined;
  /** Called with what is left out of a listing. */
  log: (message: string) => void;
}

/** Limits of what is read into memory: an answer about a repository, and all pages of its listing. */
const MAX_JSON_BYTES = 8 * 2 ** 20;
const MAX_PAGES = 50;

export interface Upstream {
  /** @throws MirrorError if it does not exist, or the hub cannot be reached. */
  snapshot(repo: string, revision: string): Promise<Snapshot>;
  /** A file from `offset` on. @throws MirrorError when it is not given. */
  file(repo: string, commit: string, path: string, offset: number): Promise<StoredObject>;
}

export function upstreamOf({ url, token, log, ...options }: UpstreamOptions): Upstream {
  // Sizes and hashes are those of the uncompressed file.
  const headers = {
    'accept-encoding': 'identity',
    ...(token !== undefined && { authorization: `Bearer ${token}` }),
  };

  async function ask(what: string, address: string, extra: Record<string, string>): Promise<Response> {
    return askFollowing(what, address, { method: 'GET', headers: { ...headers, ...extra } }, options);
  }

  async function json(what: string, address: string): Promise<{ value: unknown; next: string | undefined }> {
    const response = await ask(what, address, { accept: 'application/json' }).catch((cause) => {
      throw unanswered(what, cause);
    });
    if (!response.ok) throw refusal(what, response, { missing: 'RepoNotFound', forbidden: 'GatedRepo' });
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
        for (const listed of checked(what, z.array(z.unknown()), value)) {
          const { data, error } = entry.safeParse(listed);
          if (data !== undefined) tree.push(data);
          // One invalid file must not make the others unavailable.
          else log(`${what}: ${JSON.stringify(listed).slice(0, 300)} is left out: ${z.prettifyError(error)}`);
        }
        page = next && nextPage(url, next);
      }
      return { info: kept, tree };
    },

    async file(repo, commit, path, offset) {
      const what = `${path} of ${repo}`;
      const address = `${url}/${repo}/resolve/${commit}/${path.split('/').map(encodeURIComponent).join('/')}`;
      const range = offset > 0 ? { offset } : undefined;
      const response = await ask(what, address, range ? { range: rangeHeader(range) } : {}).catch((cause) => {
        throw unanswered(what, cause);
      });
      if (!response.ok) throw refusal(what, response, { missing: 'EntryNotFound', commit });
      if (response.body === null) throw new MirrorError(502, `The hub sends nothing of ${what}.`);
      const stream = range && response.status !== 206 ? sliced(response.body, range) : response.body;
      return { size: toldSize(response), etag: response.headers.get('etag') ?? '', stream };
    },
  };
}

/**
 * The hub may know itself by another name than we do; the pages of its listing are asked for where the first one was.
 */
function nextPage(url: string, link: string): string {
  const { pathname, search } = new URL(link, url);
  return new URL(pathname + search, url).href;
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
