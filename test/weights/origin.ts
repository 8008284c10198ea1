/**
 * An origin over HTTP for tests: files with ranges and ETags, that can cut its answers, stall, redirect and ask for a
 * token.
 */
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Origin {
  url: string;
  files: Map<string, Uint8Array>;
  /** `GET path` or `GET path bytes=5-`, in the order in which they came. */
  requests: string[];
  /** Authorization headers of the requests. */
  authorizations: (string | undefined)[];
  /** Answers in place of the origin when it returns true. */
  intercept: (request: IncomingMessage, response: ServerResponse) => boolean;
  /** For the next answers with a body: bytes after which the connection is cut. */
  cuts: number[];
  /** Set to false for a server that knows no ranges. */
  knowsRanges: boolean;
  close(): Promise<void>;
}

export async function startOrigin(files: Map<string, Uint8Array> = new Map()): Promise<Origin> {
  const server = createServer(handle);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const origin: Origin = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    files,
    requests: [],
    authorizations: [],
    intercept: () => false,
    cuts: [],
    knowsRanges: true,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return origin;

  function handle(request: IncomingMessage, response: ServerResponse): void {
    const path = request.url!.slice(1);
    const { range } = request.headers;
    origin.requests.push([request.method, path, range].filter(Boolean).join(' '));
    origin.authorizations.push(request.headers.authorization);
    if (origin.intercept(request, response)) return;
    const file = files.get(path);
    if (file === undefined) {
      response.writeHead(404).end();
      return;
    }
    const [, from] = (origin.knowsRanges && /^bytes=(\d+)-$/.exec(range ?? '')) || [];
    const part = file.subarray(Number(from ?? 0));
    response.writeHead(from === undefined ? 200 : 206, {
      etag: `"${createHash('sha1').update(file).digest('hex')}"`,
      'content-length': part.byteLength,
      ...(from !== undefined && { 'content-range': `bytes ${from}-${file.byteLength - 1}/${file.byteLength}` }),
    });
    if (request.method === 'HEAD') {
      response.end();
      return;
    }
    const cut = origin.cuts.shift();
    if (cut === undefined) response.end(part);
    else response.write(part.subarray(0, cut), () => setTimeout(() => response.destroy(), 5));
  }
}
