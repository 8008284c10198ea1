import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { httpStore } from '../../src/weights/http-store.ts';
import { type Origin, startOrigin } from './origin.ts';
import { sampleBytes } from './samples.ts';
import { bytesOf } from './store-behaviour.ts';

const content = sampleBytes(300_000);
let origin: Origin;
let elsewhere: Origin;

beforeEach(async () => {
  origin = await startOrigin(new Map([['files/m/a.bin', content]]));
  elsewhere = await startOrigin(new Map([['stored', content]]));
});

afterEach(async () => {
  await Promise.all([origin.close(), elsewhere.close()]);
});

const storeOf = (options = {}) => httpStore({ baseUrl: `${origin.url}/files`, retryDelayMs: 1, ...options });

/** Lets the origin redirect every request. */
function redirect(location: string, status = 302): void {
  origin.intercept = (_, response) => {
    response.writeHead(status, { location }).end();
    return true;
  };
}

describe('an HTTP store', () => {
  it('should give a file with its size and ETag, whole and from an offset', async () => {
    const store = storeOf();
    const info = await store.head('m/a.bin');
    expect(info).toEqual({ size: 300_000, etag: expect.stringMatching(/^"[0-9a-f]{40}"$/) });
    expect(await bytesOf(store, 'm/a.bin')).toEqual(content);
    const part = (await store.get('m/a.bin', { offset: 299_990 }))!;
    expect({ size: part.size, etag: part.etag }).toEqual(info);
    expect(new Uint8Array(await new Response(part.stream).arrayBuffer())).toEqual(content.subarray(299_990));
    expect(origin.requests.at(-1)).toBe('GET files/m/a.bin bytes=299990-');
  });

  it('should cut a range out of the whole where the server knows no ranges', async () => {
    origin.knowsRanges = false;
    const range = { offset: 100_000, length: 77_777 };
    expect(await bytesOf(storeOf(), 'm/a.bin', range)).toEqual(content.subarray(100_000, 177_777));
    expect(await bytesOf(storeOf(), 'm/a.bin', { offset: 299_999 })).toEqual(content.subarray(299_999));
  });

  it('should give null for what is not there', async () => {
    expect(await storeOf().head('m/none')).toBeNull();
    expect(await storeOf().get('m/none')).toBeNull();
  });

  it('should refuse other answers without showing the address', async () => {
    origin.intercept = (_, response) => {
      response.writeHead(403).end();
      return true;
    };
    await expect(storeOf().get('m/a.bin')).rejects.toThrow(/^GET m\/a\.bin of the origin: answered 403$/);
  });

  it('should return a file of unknown size, and find the size if that is possible', async () => {
    let knowsRanges = true;
    origin.intercept = (request, response) => {
      const isFirst = knowsRanges && request.headers.range === 'bytes=0-0';
      response.writeHead(isFirst ? 206 : 200, isFirst ? { 'content-range': 'bytes 0-0/300000' } : {});
      if (request.method === 'GET') response.write(isFirst ? content.subarray(0, 1) : content);
      response.end();
      return true;
    };
    expect(await bytesOf(storeOf(), 'm/a.bin')).toEqual(content);
    expect(await storeOf().head('m/a.bin')).toEqual({ size: 300_000, etag: '' });
    knowsRanges = false;
    expect(await storeOf().head('m/a.bin')).toEqual({ size: undefined, etag: '' });
  });

  it.each([
    [{ 'retry-after': '7' }, 429, 7],
    [{ 'retry-after': '7' }, 503, 7],
    [{ ratelimit: '"resolvers";r=0;t=55' }, 429, 55],
  ])('should not ask again before it may: %j', async (headers, status, seconds) => {
    origin.intercept = (_, response) => {
      response.writeHead(status, headers).end();
      return true;
    };
    await expect(storeOf().get('m/a.bin')).rejects.toMatchObject({ status, retryAfterSeconds: seconds });
    expect(origin.requests).toHaveLength(1);
  });

  it('should not take the length of what is compressed for the size', async () => {
    origin.intercept = (_, response) => {
      response.writeHead(200, { 'content-encoding': 'gzip' });
      response.end(gzipSync(content));
      return true;
    };
    expect((await storeOf().get('m/a.bin'))?.size).toBeUndefined();
    expect(await bytesOf(storeOf(), 'm/a.bin')).toEqual(content);
  });

  it('should follow redirects to elsewhere without taking its token along', async () => {
    redirect(`${elsewhere.url}/stored`);
    expect(await bytesOf(storeOf({ token: 'secret' }), 'm/a.bin', { offset: 5 })).toEqual(content.subarray(5));
    expect(origin.authorizations).toEqual(['Bearer secret']);
    expect(elsewhere.authorizations).toEqual([undefined]);
  });

  it('should take its token along within the origin', async () => {
    origin.files.set('moved', content);
    origin.intercept = (request, response) => {
      if (request.url === '/moved') return false;
      response.writeHead(307, { location: '/moved' }).end();
      return true;
    };
    expect(await bytesOf(storeOf({ token: 'secret' }), 'm/a.bin')).toEqual(content);
    expect(origin.authorizations).toEqual(['Bearer secret', 'Bearer secret']);
  });

  it.each(['file:///etc/passwd', 'data:text/plain,a', 'http://'])('should not follow a redirect to %j', async (to) => {
    redirect(to);
    await expect(storeOf().head('m/a.bin')).rejects.toThrow('redirects to where it must not');
  });

  it('should not be led from https to http', async () => {
    const fetch = async () => new Response(null, { status: 302, headers: { location: 'http://files.example/a' } });
    const store = httpStore({ baseUrl: 'https://files.example', fetch });
    await expect(store.head('m/a.bin')).rejects.toThrow('redirects to where it must not');
  });

  it('should not go round in circles', async () => {
    redirect('/files/m/a.bin');
    await expect(storeOf().head('m/a.bin')).rejects.toThrow('redirects more than 5 times');
    expect(origin.requests).toHaveLength(6);
  });
});
