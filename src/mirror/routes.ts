/**
 * The download protocol of the Hugging Face Hub, as its client `huggingface_hub` speaks it (hf_api.py, file_download.py): with `HF_ENDPOINT` set to
 * this service and `HF_TOKEN` to one of its keys, engines take their weights from the store.
 */
import { type Context, Hono } from 'hono';
import { keepAliveOf } from '../http/keep-alive.ts';
import { logError } from '../log.ts';
import { contentRange, parseRange } from '../weights/range.ts';
import { MirrorError } from './errors.ts';
import { repositoryInfo, treeOf } from './listing.ts';
import type { HubFile, Mirror } from './mirror.ts';

const BRANCH = 'main';

export function mirrorRoutes(mirror: Mirror): Hono {
  const app = new Hono();
  for (const repo of ['/:name', '/:owner/:name']) {
    app.get(`${repo}/resolve/:revision/:path{.+}`, answering(file));
    app.get(`/api/models${repo}`, answering(info));
    app.get(`/api/models${repo}/revision/:revision`, answering(info));
    app.get(`/api/models${repo}/tree/:revision`, answering(tree));
    app.get(`/api/models${repo}/tree/:revision/:path{.+}`, answering(tree));
  }
  return app;

  async function info(c: Context): Promise<Response> {
    const { repo, revision } = named(c);
    return c.json(repositoryInfo(await mirror.snapshot(repo, revision), isTrue(c.req.query('blobs'))));
  }

  async function tree(c: Context): Promise<Response> {
    const { repo, revision, path } = named(c);
    if (isTrue(c.req.query('expand')))
      throw new MirrorError(400, 'The mirror keeps no last commits: ask without expand.');
    const snapshot = await mirror.snapshot(repo, revision);
    return c.json(treeOf(snapshot, path.replace(/\/+$/, ''), isTrue(c.req.query('recursive'))));
  }

  async function file(c: Context): Promise<Response> {
    const { repo, revision, path } = named(c);
    const found = await mirror.file(repo, revision, path);
    const headers = headersOf(found);
    if (c.req.header('if-none-match') === headers.etag) return c.body(null, 304, headers);
    // A range of another version is of no use: then all of it is sent.
    const isSame = [undefined, headers.etag].includes(c.req.header('if-range'));
    const range = isSame ? parseRange(c.req.header('range'), found.size) : undefined;
    if (range === 'unsatisfiable') {
      return c.body(null, 416, { ...headers, 'content-range': `bytes */${found.size}` });
    }
    const { offset, length } = range ?? { offset: 0, length: found.size };
    const part = range && { 'content-range': contentRange(range, found.size) };
    const all = { ...headers, ...part, 'content-length': String(length) };
    if (c.req.raw.method === 'HEAD') return c.body(null, range ? 206 : 200, all);
    const { stream, pull } = await mirror.open(found, { offset, length });
    if (pull !== undefined) {
      const logged = pull.catch((error: unknown) => logError(c.get('requestId'), error));
      keepAliveOf(c)(logged);
    }
    return c.body(ofLength(stream, length), range ? 206 : 200, all);
  }
}

/** What the path names, decoded. The branch is `main` where it names none. */
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
    // Files of strangers: no browser is to run them in the name of this service.
    'content-type': 'application/octet-stream',
    'content-disposition': 'attachment',
    'x-content-type-options': 'nosniff',
  };
}

/** In workerd the length of an answer is sent when its stream is known to have it. */
function ofLength(stream: ReadableStream<Uint8Array>, length: number): ReadableStream<Uint8Array> {
  const { FixedLengthStream } = globalThis as {
    FixedLengthStream?: new (length: number) => ReadableWritablePair<Uint8Array, Uint8Array>;
  };
  return FixedLengthStream ? stream.pipeThrough(new FixedLengthStream(length)) : stream;
}

/** The client writes booleans as Python or JavaScript does. */
function isTrue(value: string | undefined): boolean {
  return /^(true|1)$/i.test(value ?? '');
}

function answering(handler: (c: Context) => Promise<Response>) {
  return async function mirrored(c: Context): Promise<Response> {
    try {
      return await handler(c);
    } catch (error) {
      if (!(error instanceof MirrorError)) throw error;
      if (error.status >= 500) logError(c.get('requestId'), error);
      c.get('observation')?.refused(error.code ?? 'mirror_error');
      return new Response(JSON.stringify({ error: error.message }), {
        status: error.status,
        headers: {
          'content-type': 'application/json',
          'x-request-id': c.get('requestId'),
          ...(error.code !== undefined && { 'x-error-code': error.code }),
          ...(error.commit !== undefined && { 'x-repo-commit': error.commit }),
        },
      });
    }
  };
}
