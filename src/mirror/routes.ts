/**
 * The download protocol of the Hugging Face Hub, as its clients speak it: `huggingface_hub` (hf_api.py,
 * file_download.py), `@huggingface/hub` (src/lib), llama.cpp (common/hf-cache.cpp). With `HF_ENDPOINT` set to this
 * service and `HF_TOKEN` to one of its keys, engines take their weights from the store.
 */
import { type Context, Hono } from 'hono';
import * as z from 'zod';
import { isKnown, ofLength } from '../http/files.ts';
import { keepAliveOf } from '../http/keep-alive.ts';
import { logError } from '../log.ts';
import { watchedBody } from '../middleware/body-end.ts';
import { StoreFailed } from '../weights/errors.ts';
import { contentRange, parseRange } from '../weights/range.ts';
import { MirrorError, StoreUnwritable } from './errors.ts';
import { lfsPointer, pathsInfo, references, repositoryInfo, treeOf } from './listing.ts';
import type { HubFile, Mirror } from './mirror.ts';

const BRANCH = 'main';

/** Seconds that a store needs when it is overloaded or starts again. */
const STORE_RETRY_AFTER_SECONDS = 5;

/** Of `paths-info`, in JSON or as a form. */
const pathsRequest = z.object({ paths: z.union([z.array(z.string()), z.string().transform((path) => [path])]) });

export function mirrorRoutes(mirror: Mirror): Hono {
  const app = new Hono();
  for (const repo of ['/:name', '/:owner/:name']) {
    app.get(`${repo}/resolve/:revision/:path{.+}`, answering(file));
    app.get(`${repo}/raw/:revision/:path{.+}`, answering(raw));
    app.get(`/api/models${repo}`, answering(info));
    app.get(`/api/models${repo}/refs`, answering(refs));
    app.get(`/api/models${repo}/revision/:revision`, answering(info));
    app.get(`/api/models${repo}/tree/:revision`, answering(tree));
    app.get(`/api/models${repo}/tree/:revision/:path{.+}`, answering(tree));
    app.post(`/api/models${repo}/paths-info/:revision`, answering(paths));
  }
  return app;

  async function info(c: Context): Promise<Response> {
    const { repo, revision } = named(c);
    return c.json(repositoryInfo(await mirror.snapshot(repo, revision), isTrue(c.req.query('blobs'))));
  }

  async function refs(c: Context): Promise<Response> {
    return c.json(references(await mirror.snapshot(named(c).repo, BRANCH), BRANCH));
  }

  async function tree(c: Context): Promise<Response> {
    const { repo, revision, path } = named(c);
    const snapshot = await mirror.snapshot(repo, revision);
    return c.json(treeOf(snapshot, path.replace(/\/+$/, ''), isTrue(c.req.query('recursive'))));
  }

  async function paths(c: Context): Promise<Response> {
    const { repo, revision } = named(c);
    const isForm = /^(application\/x-www-form-urlencoded|multipart\/form-data)\b/i.test(
      c.req.header('content-type') ?? '',
    );
    const body: unknown = await (isForm ? c.req.parseBody({ all: true }) : c.req.json()).catch(() => undefined);
    const { data } = pathsRequest.safeParse(body);
    if (data === undefined) throw new MirrorError(400, 'paths must be a list of paths.');
    return c.json(pathsInfo(await mirror.snapshot(repo, revision), data.paths));
  }

  /** What git has: a pointer in place of a file in LFS. */
  async function raw(c: Context): Promise<Response> {
    const { repo, revision, path } = named(c);
    const found = await mirror.file(repo, revision, path);
    if (found.entry.lfs === undefined) return fileAnswer(c, found);
    const pointer = lfsPointer(found);
    const headers = { ...headersOf(found), etag: `"${found.entry.oid}"`, 'x-linked-etag': `"${found.entry.oid}"` };
    if (isKnown(c.req.header('if-none-match'), headers.etag)) return c.body(null, 304, headers);
    const length = { 'content-length': String(pointer.length), 'x-linked-size': String(pointer.length) };
    // One range of all of it is what clients ask for to learn the size.
    const range = c.req.raw.method === 'GET' ? parseRange(c.req.header('range'), pointer.length) : undefined;
    if (range === undefined || range === 'unsatisfiable') {
      const all = { ...headers, ...length };
      return c.req.raw.method === 'HEAD' ? c.body(null, 200, all) : c.body(pointer, 200, all);
    }
    const part = pointer.slice(range.offset, range.offset + range.length);
    const partHeaders = { 'content-range': contentRange(range, pointer.length), 'content-length': String(part.length) };
    return c.body(part, 206, { ...headers, ...length, ...partHeaders });
  }

  async function file(c: Context): Promise<Response> {
    const { repo, revision, path } = named(c);
    return fileAnswer(c, await mirror.file(repo, revision, path));
  }

  async function fileAnswer(c: Context, found: HubFile): Promise<Response> {
    const headers = headersOf(found);
    const { size } = found;
    const whole = { ...headers, 'content-length': String(size) };
    if (isKnown(c.req.header('if-none-match'), headers.etag)) return c.body(null, 304, headers);
    // Nothing is opened, and a range is of a body.
    if (c.req.raw.method === 'HEAD') return c.body(null, 200, whole);
    // A range of another version is of no use: then all of it is sent.
    const isSame = [undefined, headers.etag].includes(c.req.header('if-range'));
    const asked = isSame && size > 0 ? parseRange(c.req.header('range'), size) : undefined;
    const ofAll = { 'content-range': `bytes */${size}` };
    if (asked === 'unsatisfiable') return c.body(null, 416, { ...headers, ...ofAll });
    const { stream, isPart } = await mirror.open(found, asked, (pull) => {
      const logged = pull.catch((error: unknown) => {
        // Clients get the refusal of the hub, and it is in the log line of their request.
        if (!(error instanceof MirrorError && error.status < 500)) logError(c.get('requestId'), error);
      });
      keepAliveOf(c)(logged);
    });
    if (asked === undefined || !isPart) {
      // `@huggingface/hub` asks for a first byte to learn the size, and only looks for it there. A client that resumes
      // must not get such an answer: curl would append the whole file to its part.
      const isQuestion = /^bytes=0-/.test(c.req.header('range') ?? '');
      return c.body(ofLength(watchedBody(c, stream), size), 200, { ...whole, ...(isQuestion && ofAll) });
    }
    const part = { 'content-range': contentRange(asked, size), 'content-length': String(asked.length) };
    return c.body(ofLength(watchedBody(c, stream), asked.length), 206, { ...headers, ...part });
  }
}

/** The decoded names in the path. The default branch is `main`. */
function named(c: Context): { repo: string; revision: string; path: string } {
  const { owner, name, revision = BRANCH, path = '' } = c.req.param() as Record<string, string | undefined>;
  return { repo: owner === undefined ? name! : `${owner}/${name}`, revision, path };
}

function headersOf({ oid, size, commit }: HubFile) {
  const etag = `"${oid}"`;
  return {
    etag,
    'x-linked-etag': etag,
    'x-linked-size': String(size),
    'x-repo-commit': commit,
    'accept-ranges': 'bytes',
    'cache-control': 'private, no-cache',
    // Files of third parties: no browser may run them under the origin of this service.
    'content-type': 'application/octet-stream',
    'content-disposition': 'attachment',
    'x-content-type-options': 'nosniff',
  };
}

/** The client writes booleans as Python or JavaScript does. */
function isTrue(value: string | undefined): boolean {
  return /^(true|1)$/i.test(value ?? '');
}

function answering(handler: (c: Context) => Promise<Response>) {
  return async function mirrored(c: Context): Promise<Response> {
    try {
      return await handler(c);
    } catch (thrown) {
      const error = thrown instanceof MirrorError ? thrown : ofStore(thrown);
      if (error === undefined) throw thrown;
      if (error.status >= 500) logError(c.get('requestId'), error);
      c.get('observation')?.refused(error.code ?? 'mirror_error');
      return new Response(JSON.stringify({ error: error.message }), {
        status: error.status,
        headers: {
          'content-type': 'application/json',
          'x-request-id': c.get('requestId'),
          // What the answer to HEAD has room for.
          'x-error-message': error.message.replace(/[^\x20-\x7e]/g, '?'),
          ...(error.code !== undefined && { 'x-error-code': error.code }),
          ...(error.commit !== undefined && { 'x-repo-commit': error.commit }),
          ...(error.retryAfterSeconds !== undefined && { 'retry-after': String(error.retryAfterSeconds) }),
        },
      });
    }
  };
}

/** Undefined for what is no failure of the store. */
function ofStore(cause: unknown): MirrorError | undefined {
  if (!(cause instanceof StoreFailed || cause instanceof StoreUnwritable)) return undefined;
  const told = cause instanceof StoreFailed ? cause.retryAfterSeconds : undefined;
  return new MirrorError(503, 'The storage of the mirror does not answer as it should.', {
    retryAfterSeconds: told ?? STORE_RETRY_AFTER_SECONDS,
    cause,
  });
}
