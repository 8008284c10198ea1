import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { StoreFailed } from '../../src/weights/errors.ts';
import { s3Store } from '../../src/weights/s3-store.ts';
import { type S3Double, startS3 } from './s3-double.ts';
import { sampleBytes } from './samples.ts';
import { behavesAsWritable, bytesOf } from './store-behaviour.ts';

let s3: S3Double;

beforeAll(async () => {
  s3 = await startS3();
});

afterAll(() => s3.close());

beforeEach(() => {
  s3.objects.clear();
  s3.uploads.clear();
  s3.requests.length = 0;
  s3.intercept = () => false;
});

const storeOf = (options: Partial<Parameters<typeof s3Store>[0]> = {}) =>
  s3Store({ ...s3.options, retryDelayMs: 1, ...options });

describe('an S3 store', () => {
  behavesAsWritable(storeOf);

  it('should sign names and queries with every character that a name may have', async () => {
    const name = 'Model_1.2-rc@3=~x/sub.dir/a-b_c.safetensors';
    await storeOf().put(name, sampleBytes(3));
    expect(await bytesOf(storeOf(), name)).toEqual(sampleBytes(3));
    expect(await storeOf().list('Model_1.2-rc@3=~x/')).toHaveLength(1);
  });

  it('should keep to its prefix', async () => {
    const store = storeOf({ prefix: 'a/b/' });
    await store.put('m/f', sampleBytes(3));
    expect([...s3.objects.keys()]).toEqual(['a/b/m/f']);
    expect(await bytesOf(store, 'm/f')).toEqual(sampleBytes(3));
    expect((await store.list('m/')).map(({ name }) => name)).toEqual(['m/f']);
  });

  it('should take the address of the bucket itself as its endpoint', async () => {
    const store = storeOf({ endpoint: `${s3.options.endpoint}/weights/`, bucket: undefined });
    await store.put('m/f', sampleBytes(3));
    expect([...s3.objects.keys()]).toEqual(['m/f']);
  });

  it.each([
    ['secret', { secretAccessKey: 'another' }, 'SignatureDoesNotMatch'],
    ['id', { accessKeyId: 'another' }, 'InvalidAccessKeyId'],
    ['region', { region: 'another' }, 'AuthorizationHeaderMalformed'],
  ])('should say what is wrong with the %s and never show it', async (_, options, code) => {
    const error = await storeOf(options)
      .get('m/f')
      .catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(StoreFailed);
    expect((error as Error).message).toBe(`GET m/f in S3: answered 403 ${code}`);
  });

  it('should distinguish a missing bucket from a missing object', async () => {
    s3.intercept = (_, response) => {
      response.writeHead(404).end('<Error><Code>NoSuchBucket</Code></Error>');
      return true;
    };
    await expect(storeOf().get('m/f')).rejects.toThrow('GET m/f in S3: answered 404 NoSuchBucket');
  });

  it('should ask again after 503, 429 and a reset, with the whole body', async () => {
    const failures = [503, 429, 0];
    s3.intercept = (_, response) => {
      const status = failures.shift();
      if (status === undefined) return false;
      if (status === 0) response.destroy();
      else response.writeHead(status).end();
      return true;
    };
    await storeOf().put('m/f', sampleBytes(5000));
    expect(s3.objects.get('m/f')).toEqual(Buffer.from(sampleBytes(5000)));
    expect(s3.requests).toHaveLength(4);
  });

  it('should fail when the fault persists', async () => {
    s3.intercept = (_, response) => {
      response.writeHead(500).end('<Error><Code>InternalError</Code></Error>');
      return true;
    };
    await expect(storeOf().head('m/f')).rejects.toMatchObject({ name: 'StoreFailed', status: 500 });
    expect(s3.requests).toHaveLength(5);
  });

  it('should not wait for ever for an answer', async () => {
    s3.intercept = () => true;
    await expect(storeOf({ timeoutMs: 20 }).head('m/f')).rejects.toMatchObject({
      name: 'StoreFailed',
      status: undefined,
      cause: { message: 'no answer in 20 ms' },
    });
  });

  it('should fail when the parts cannot be put together, though the status says 200', async () => {
    const upload = await storeOf().upload('m/f');
    await upload.part(sampleBytes(10));
    for (const { parts } of s3.uploads.values()) parts.set(1, sampleBytes(10, 2));
    await expect(upload.complete()).rejects.toThrow('could not complete: InvalidPart');
    expect(s3.objects.size).toBe(0);
  });

  it('should drop the parts of an upload that is aborted', async () => {
    const upload = await storeOf().upload('m/f');
    await upload.part(sampleBytes(10));
    expect(s3.uploads.size).toBe(1);
    await upload.abort();
    expect(s3.uploads.size).toBe(0);
  });
});
