/**
 * A small S3 over HTTP for tests: objects, ranges, uploads in parts, pages of lists. It computes the signature of every
 * request independently, from the bytes of the socket, and refuses what is not signed with its secret.
 * test/weights/s3-server.test.ts and test/python run the same tests against moto, an independent server.
 */
import { createHash, createHmac, randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export const S3_KEYS = { accessKeyId: 'AKIATEST', secretAccessKey: 'secret/with+signs=' };
const REGION = 'test-region-1';
const BUCKET = 'weights';

/** Objects of one page of a list. */
const PAGE = 3;

export interface S3Double {
  options: { endpoint: string; bucket: string; region: string; accessKeyId: string; secretAccessKey: string };
  objects: Map<string, Uint8Array>;
  /** Uploads begun and neither completed nor aborted. */
  uploads: Map<string, { key: string; parts: Map<number, Uint8Array> }>;
  /** `GET key`, `PUT key?partNumber=1`, … in the order in which they came. */
  requests: string[];
  /** Set to false for a server that ignores the condition. */
  knowsConditions: boolean;
  /** Answers a request in place of the double when it returns true. */
  intercept: (request: string, response: ServerResponse) => boolean;
  close(): Promise<void>;
}

export async function startS3(): Promise<S3Double> {
  const objects = new Map<string, Uint8Array>();
  const uploads: S3Double['uploads'] = new Map();
  const server = createServer((request, response) => {
    void handle(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const double: S3Double = {
    options: {
      endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      bucket: BUCKET,
      region: REGION,
      ...S3_KEYS,
    },
    objects,
    uploads,
    requests: [],
    knowsConditions: true,
    intercept: () => false,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return double;

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    const url = new URL(request.url!, 'http://double');
    const key = url.pathname.slice(`/${BUCKET}/`.length);
    const described = `${request.method} ${key}${url.search && `?${[...url.searchParams.keys()].join('&')}`}`;
    double.requests.push(described);
    if (double.intercept(described, response)) return;
    const fault = signatureFault(request, url, body);
    if (fault !== undefined) return xml(response, 403, `<Error><Code>${fault}</Code></Error>`);
    answer(request, response, url, key, body);
  }

  function answer(request: IncomingMessage, response: ServerResponse, url: URL, key: string, body: Buffer): undefined {
    const query = url.searchParams;
    const uploadId = query.get('uploadId');
    const upload = uploadId === null ? undefined : uploads.get(uploadId);
    if (request.method === 'POST' && query.has('uploads')) {
      const id = randomUUID();
      uploads.set(id, { key, parts: new Map() });
      return xml(response, 200, `<R><UploadId>${id}</UploadId></R>`);
    }
    if (uploadId !== null && upload === undefined)
      return xml(response, 404, '<Error><Code>NoSuchUpload</Code></Error>');
    if (request.method === 'POST' && upload !== undefined) {
      const listed = [...body.toString().matchAll(/<PartNumber>(\d+)<\/PartNumber><ETag>(.*?)<\/ETag>/g)];
      const parts = listed.map(([, number]) => upload.parts.get(Number(number)));
      const isRight = parts.every((part, index) => part !== undefined && etagOf(part) === listed[index]![2]);
      // As S3 does: the failure of putting together comes with 200.
      if (!isRight || parts.length === 0) return xml(response, 200, '<Error><Code>InvalidPart</Code></Error>');
      objects.set(key, Buffer.concat(parts.map((part) => part!)));
      uploads.delete(uploadId!);
      return xml(response, 200, '<R><ETag>x</ETag></R>');
    }
    if (request.method === 'PUT') {
      if (double.knowsConditions && request.headers['if-none-match'] === '*' && objects.has(key)) {
        return xml(response, 412, '<Error><Code>PreconditionFailed</Code></Error>');
      }
      if (upload === undefined) objects.set(key, body);
      else upload.parts.set(Number(query.get('partNumber')), body);
      response.writeHead(200, { etag: etagOf(body) }).end();
      return;
    }
    if (request.method === 'DELETE') {
      if (upload === undefined) objects.delete(key);
      else uploads.delete(uploadId!);
      response.writeHead(204).end();
      return;
    }
    if (key === '') return list(response, query);
    get(request, response, key);
  }

  function list(response: ServerResponse, query: URLSearchParams): undefined {
    const names = [...objects.keys()].filter((name) => name.startsWith(query.get('prefix') ?? '')).sort();
    const start = Number(query.get('continuation-token') ?? 0);
    const entries = names.slice(start, start + PAGE).map((name) => {
      const object = objects.get(name)!;
      const etag = etagOf(object).replaceAll('"', '&quot;');
      return `<Contents><Key>${name}</Key><ETag>${etag}</ETag><Size>${object.length}</Size></Contents>`;
    });
    const more = start + PAGE < names.length;
    const next = more ? `<NextContinuationToken>${start + PAGE}</NextContinuationToken>` : '';
    xml(
      response,
      200,
      `<ListBucketResult>${entries.join('')}<IsTruncated>${more}</IsTruncated>${next}</ListBucketResult>`,
    );
  }

  function get(request: IncomingMessage, response: ServerResponse, key: string): undefined {
    const object = objects.get(key);
    if (object === undefined) return xml(response, 404, '<Error><Code>NoSuchKey</Code></Error>', request.method);
    const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '') ?? [];
    const start = Number(from ?? 0);
    const part = object.subarray(start, to ? Number(to) + 1 : undefined);
    if (start >= object.length && from !== undefined) {
      return xml(response, 416, '<Error><Code>InvalidRange</Code></Error>');
    }
    response.writeHead(from === undefined ? 200 : 206, {
      etag: etagOf(object),
      'content-length': part.length,
      ...(from !== undefined && { 'content-range': `bytes ${start}-${start + part.length - 1}/${object.length}` }),
    });
    response.end(request.method === 'HEAD' ? undefined : part);
  }
}

export function etagOf(bytes: Uint8Array): string {
  return `"${createHash('md5').update(bytes).digest('hex')}"`;
}

function xml(response: ServerResponse, status: number, text: string, method = 'GET'): undefined {
  response.writeHead(status, { 'content-type': 'application/xml' });
  response.end(method === 'HEAD' ? undefined : `<?xml version="1.0"?>${text}`);
}

/**
 * https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html, written down from there a second time.
 */
function signatureFault(request: IncomingMessage, url: URL, body: Buffer): string | undefined {
  const authorization =
    /^AWS4-HMAC-SHA256 Credential=(.+?)\/(\d{8})\/(.+?)\/s3\/aws4_request, ?SignedHeaders=(.+?), ?Signature=([0-9a-f]{64})$/.exec(
      request.headers.authorization ?? '',
    );
  if (authorization === null) return 'AccessDenied';
  const [, id, date, region, signedHeaders, signature] = authorization as unknown as string[];
  if (id !== S3_KEYS.accessKeyId) return 'InvalidAccessKeyId';
  if (region !== REGION) return 'AuthorizationHeaderMalformed';
  const claimed = String(request.headers['x-amz-content-sha256']);
  const actual = createHash('sha256').update(body).digest('hex');
  if (claimed !== actual) return 'XAmzContentSHA256Mismatch';
  const headers = signedHeaders!.split(';').map((name) => `${name}:${String(request.headers[name]).trim()}\n`);
  const query = [...url.searchParams]
    .map(([name, value]) => [encodeURIComponent(name), encodeURIComponent(value)] as const)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map((pair) => pair.join('='));
  const path = decodeURIComponent(url.pathname).split('/').map(encodeURIComponent).join('/');
  const canonical = [request.method, path, query.join('&'), headers.join(''), signedHeaders, claimed].join('\n');
  const scope = `${date}/${region}/s3/aws4_request`;
  const hash = createHash('sha256').update(canonical).digest('hex');
  const hmac = (key: string | Buffer, text: string) => createHmac('sha256', key).update(text).digest();
  const key = [region!, 's3', 'aws4_request'].reduce(hmac, hmac(`AWS4${S3_KEYS.secretAccessKey}`, date!));
  const text = ['AWS4-HMAC-SHA256', request.headers['x-amz-date'], scope, hash].join('\n');
  return hmac(key, text).toString('hex') === signature ? undefined : 'SignatureDoesNotMatch';
}
