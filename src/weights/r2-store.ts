/** An R2 bucket, by its binding: https://developers.cloudflare.com/r2/api/workers/workers-api-reference/ */
import { StoreFailed } from './errors.ts';
import type { ByteRange, StoredInfo, WritableStore } from './store.ts';

interface R2Info {
  size: number;
  httpEtag: string;
}

interface R2Part {
  partNumber: number;
  etag: string;
}

interface R2Upload {
  uploadPart(partNumber: number, value: Uint8Array): Promise<R2Part>;
  complete(parts: R2Part[]): Promise<unknown>;
  abort(): Promise<void>;
}

/** What is used of an R2 bucket. */
export interface Bucket {
  head(key: string): Promise<R2Info | null>;
  get(key: string, options?: { range?: ByteRange }): Promise<(R2Info & { body: ReadableStream<Uint8Array> }) | null>;
  /** Null if the condition fails. */
  put(key: string, value: Uint8Array, options?: { onlyIf: Headers }): Promise<unknown>;
  delete(key: string): Promise<void>;
  list(options: { prefix: string; cursor?: string }): Promise<{
    objects: (R2Info & { key: string })[];
    truncated: boolean;
    cursor?: string;
  }>;
  createMultipartUpload(key: string): Promise<R2Upload>;
}

export function r2Store(bound: Bucket): WritableStore {
  const bucket = failingByName(bound);
  return {
    async head(name) {
      const object = await bucket.head(name);
      return object && infoOf(object);
    },
    async get(name, range) {
      const object = await bucket.get(name, range && { range });
      return object && { ...infoOf(object), stream: object.body };
    },
    put: async (name, bytes) => {
      await bucket.put(name, bytes);
    },
    putNew: async (name, bytes) =>
      (await bucket.put(name, bytes, { onlyIf: new Headers({ 'if-none-match': '*' }) })) !== null,
    delete: (name) => bucket.delete(name),
    async list(prefix) {
      const found: (StoredInfo & { name: string })[] = [];
      let cursor: string | undefined;
      do {
        const page = await bucket.list({ prefix, ...(cursor !== undefined && { cursor }) });
        found.push(...page.objects.map((object) => ({ name: object.key, ...infoOf(object) })));
        cursor = page.truncated ? page.cursor : undefined;
      } while (cursor !== undefined);
      return found;
    },
    async upload(name) {
      const upload = await bucket.createMultipartUpload(name);
      const parts: R2Part[] = [];
      return {
        part: async (bytes) => {
          parts.push(await upload.uploadPart(parts.length + 1, bytes));
        },
        complete: async () => {
          await upload.complete(parts);
        },
        abort: () => upload.abort(),
      };
    },
  };
}

/** The bucket, whose methods reject with StoreFailed. */
function failingByName(bucket: Bucket): Bucket {
  const named =
    <Arguments extends [key: string | object, ...unknown[]], Result>(
      operation: string,
      method: (...args: Arguments) => Promise<Result>,
    ) =>
    async (...args: Arguments): Promise<Result> => {
      try {
        return await method.apply(bucket, args);
      } catch (cause) {
        const [key] = args;
        throw new StoreFailed(`${operation} ${typeof key === 'string' ? key : 'the list'} in R2`, 'failed', { cause });
      }
    };
  return {
    head: named('head', bucket.head),
    get: named('get', bucket.get),
    put: named('put', bucket.put),
    delete: named('delete', bucket.delete),
    list: named('list', bucket.list),
    createMultipartUpload: named('upload', bucket.createMultipartUpload),
  };
}

function infoOf({ size, httpEtag }: R2Info): StoredInfo {
  return { size, etag: httpEtag };
}
