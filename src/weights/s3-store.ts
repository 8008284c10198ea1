/**
 * A bucket of any S3-compatible storage:
 * https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html Requests are signed
 * with version 4 signatures over the SHA-256 of their bodies, so that the store refuses a body that was damaged on its
 * way.
 */
import { AwsClient } from 'aws4fetch';
import { StoreFailed } from './errors.ts';
import { rangeHeader, toldSize } from './range.ts';
import { ask, type RequestOptions } from './request.ts';
import { elements, textOf } from './s3-xml.ts';
import type { Bytes, StoredInfo, Upload, WritableStore } from './store.ts';

export interface S3StoreOptions extends RequestOptions {
  /**
   * `https://s3.eu-central-1.amazonaws.com`, `http://minio:9000`, or the address of the bucket itself if `bucket` is
   * left out.
   */
  endpoint: string;
  bucket?: string | undefined;
  /** `auto` if the storage has none. */
  region: string;
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken?: string | undefined;
  /** Put before each name. */
  prefix?: string | undefined;
}

/** SHA-256 of an empty body, the body of most requests. */
const EMPTY_SHA256 = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';

const NO_QUERY = {};

export function s3Store(options: S3StoreOptions): WritableStore {
  const { accessKeyId, secretAccessKey, sessionToken, region, prefix = '' } = options;
  const bucketUrl = [options.endpoint.replace(/\/+$/, ''), ...(options.bucket ? [options.bucket] : [])].join('/');
  const client = new AwsClient({
    accessKeyId,
    secretAccessKey,
    region,
    service: 's3',
    ...(sessionToken !== undefined && { sessionToken }),
  });

  /** Null for a missing object; StoreFailed for any other answer that is not a success. */
  async function request(
    method: string,
    key: string,
    query: Record<string, string>,
    { body, ...extra }: { body?: Bytes; range?: string; 'if-none-match'?: '*' } = {},
  ): Promise<Response | null> {
    const what = `${method} ${key || 'the list'} in S3`;
    const sha256 = body === undefined ? EMPTY_SHA256 : await sha256Of(body);
    const search = new URLSearchParams(query).toString();
    const address = `${bucketUrl}/${key}${search && `?${search}`}`;
    const make = async () => {
      const headers = { 'x-amz-content-sha256': sha256, ...extra };
      const signed = await client.sign(address, { method, headers });
      return {
        url: signed.url,
        init: {
          method,
          // Compression on the way would change sizes.
          headers: { ...Object.fromEntries(signed.headers), 'accept-encoding': 'identity' },
          ...(body !== undefined && { body }),
        },
      };
    };
    const response = await ask(what, make, options);
    if (response.ok) return response;
    if (response.status === 404 && method !== 'PUT' && method !== 'POST') {
      const code = method === 'HEAD' ? undefined : textOf(await response.text(), 'Code');
      // A missing bucket is a mistake of the operator's, not a missing file.
      if (code !== 'NoSuchBucket') return null;
      throw new StoreFailed(what, `answered 404 ${code}`, { status: 404 });
    }
    const code = method === 'HEAD' ? undefined : textOf(await response.text(), 'Code');
    throw new StoreFailed(what, `answered ${[response.status, code].join(' ').trim()}`, { status: response.status });
  }

  async function mustAnswer(...[method, key, query, extra]: Parameters<typeof request>): Promise<Response> {
    const response = await request(method, key, query, extra);
    if (response === null) throw new StoreFailed(`${method} ${key} in S3`, 'answered 404', { status: 404 });
    return response;
  }

  async function list(namePrefix: string): Promise<(StoredInfo & { name: string })[]> {
    const found: (StoredInfo & { name: string })[] = [];
    let token: string | undefined;
    do {
      const query = { 'list-type': '2', prefix: prefix + namePrefix };
      const response = await mustAnswer('GET', '', { ...query, ...(token && { 'continuation-token': token }) });
      const xml = await response.text();
      for (const entry of elements(xml, 'Contents')) {
        const told = textOf(entry, 'Size') ?? '';
        const size = /^\d+$/.test(told) ? Number(told) : undefined;
        found.push({ name: textOf(entry, 'Key')!.slice(prefix.length), size, etag: textOf(entry, 'ETag') ?? '' });
      }
      token = textOf(xml, 'IsTruncated') === 'true' ? textOf(xml, 'NextContinuationToken') : undefined;
    } while (token !== undefined);
    return found;
  }

  return {
    async head(name) {
      const response = await request('HEAD', prefix + name, NO_QUERY);
      if (response === null || toldSize(response) !== undefined) return response && infoOf(response);
      // Lists have sizes in their text, even if a proxy changes headers.
      const size = (await list(name)).find((object) => object.name === name)?.size;
      return { ...infoOf(response), size };
    },
    async get(name, range) {
      const response = await request('GET', prefix + name, NO_QUERY, range && { range: rangeHeader(range) });
      if (response === null) return null;
      if (response.body === null) throw new StoreFailed(`GET ${prefix}${name} in S3`, 'no body');
      return { ...infoOf(response), stream: response.body };
    },
    async put(name, body) {
      await drain(await mustAnswer('PUT', prefix + name, NO_QUERY, { body }));
    },
    async putNew(name, body) {
      try {
        await drain(await mustAnswer('PUT', prefix + name, NO_QUERY, { body, 'if-none-match': '*' }));
        return true;
      } catch (error) {
        const status = error instanceof StoreFailed ? error.status : undefined;
        // There is one, or another one is being written.
        if (status === 412 || status === 409) return false;
        if (status !== 400 && status !== 501) throw error;
        await drain(await mustAnswer('PUT', prefix + name, NO_QUERY, { body }));
        return true;
      }
    },
    async delete(name) {
      const response = await request('DELETE', prefix + name, NO_QUERY);
      await response?.body?.cancel();
    },
    list,
    upload: (name) => startUpload(prefix + name),
  };

  async function startUpload(key: string): Promise<Upload> {
    const started = await (await mustAnswer('POST', key, { uploads: '' })).text();
    const uploadId = textOf(started, 'UploadId');
    if (uploadId === undefined) throw new StoreFailed(`POST ${key} in S3`, 'started no upload');
    const parts: string[] = [];
    return {
      async part(body) {
        const partNumber = String(parts.length + 1);
        const response = await mustAnswer('PUT', key, { partNumber, uploadId }, { body });
        await drain(response);
        const etag = response.headers.get('etag') ?? '';
        parts.push(`<Part><PartNumber>${partNumber}</PartNumber><ETag>${etag}</ETag></Part>`);
      },
      async complete() {
        const body = new TextEncoder().encode(`<CompleteMultipartUpload>${parts.join('')}</CompleteMultipartUpload>`);
        const answer = await (await mustAnswer('POST', key, { uploadId }, { body })).text();
        // The status is sent before the parts are combined, so a failure has status 200.
        const code = /<Error[\s>]/.test(answer) ? textOf(answer, 'Code') : undefined;
        if (code !== undefined) throw new StoreFailed(`POST ${key} in S3`, `could not complete: ${code}`);
      },
      async abort() {
        const response = await request('DELETE', key, { uploadId });
        await response?.body?.cancel();
      },
    };
  }
}

function infoOf(response: Response): StoredInfo {
  return { size: toldSize(response), etag: response.headers.get('etag') ?? '' };
}

async function drain(response: Response): Promise<void> {
  await response.arrayBuffer();
}

async function sha256Of(bytes: Bytes): Promise<string> {
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  return Array.from(hash, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
