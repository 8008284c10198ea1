import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SettingsError } from '../../src/settings.ts';
import { configuredWeights } from '../../src/weights/configured.ts';
import { WeightsMissing } from '../../src/weights/errors.ts';
import type { WritableStore } from '../../src/weights/store.ts';
import { type Origin, startOrigin } from './origin.ts';
import { type S3Double, startS3 } from './s3-double.ts';
import { sampleModel } from './samples.ts';
import { bytesOf } from './store-behaviour.ts';

const files = sampleModel('m');
let s3: S3Double;
let origin: Origin;

beforeEach(async () => {
  s3 = await startS3();
  origin = await startOrigin(new Map(files));
});

afterEach(async () => {
  await Promise.all([s3.close(), origin.close()]);
});

const s3Variables = () => ({
  S3_ENDPOINT: s3.options.endpoint,
  S3_BUCKET: s3.options.bucket,
  S3_REGION: s3.options.region,
  S3_ACCESS_KEY_ID: s3.options.accessKeyId,
  S3_SECRET_ACCESS_KEY: s3.options.secretAccessKey,
});

/** A store that must not be used. */
const untouchable = new Proxy({} as WritableStore, {
  get: () => () => {
    throw new Error('another store was asked');
  },
});

describe('what is configured', () => {
  it('should be read from S3 where that is set, before a bucket that is bound', async () => {
    s3.objects.set('m/config.json', files.get('m/config.json')!);
    const { store, writable } = configuredWeights(s3Variables(), { bucket: untouchable, folder: untouchable });
    expect(await bytesOf(store, 'm/config.json')).toEqual(files.get('m/config.json'));
    expect(writable).toBe(store);
  });

  it('should be read from the origin where there is nothing that can be written to, and written nowhere', async () => {
    const variables = { WEIGHTS_ORIGIN: origin.url, WEIGHTS_ORIGIN_TOKEN: 'secret' };
    const { store, source, writable } = configuredWeights(variables, { folder: untouchable });
    expect(await bytesOf(store, 'm/config.json')).toEqual(files.get('m/config.json'));
    expect(await source('m').size('tokenizer.json')).toBe(files.get('m/tokenizer.json')!.byteLength);
    expect(writable).toBeUndefined();
    expect(origin.authorizations).toEqual(['Bearer secret', 'Bearer secret']);
  });

  it('should be fetched from the origin into S3 where both are set', async () => {
    const { source } = configuredWeights({ ...s3Variables(), S3_PREFIX: 'models/', WEIGHTS_ORIGIN: origin.url });
    expect(await source('m').repair?.(new WeightsMissing(['manifest.json']))).toBe(true);
    expect([...s3.objects.keys()].sort()).toEqual([...files.keys()].map((name) => `models/${name}`).sort());
  });

  it.each([
    ['nothing', {}, /^There is no storage of weights/],
    ['an endpoint that is no address', { S3_ENDPOINT: 'minio' }, /^S3_ENDPOINT must be an http or https URL/],
    ['an endpoint with a key in it', { S3_ENDPOINT: 'http://id:secret@minio' }, /^S3_ENDPOINT must be/],
    ['no keys', { S3_ENDPOINT: 'http://minio' }, /^S3_ACCESS_KEY_ID is missing$/],
    ['half a key', { S3_ENDPOINT: 'http://minio', S3_ACCESS_KEY_ID: 'secret' }, /^S3_SECRET_ACCESS_KEY is missing$/],
    ['a bucket with a path', { S3_BUCKET: 'a/../b' }, /^S3_BUCKET must be the name of a bucket$/],
    ['a prefix without an end', { S3_PREFIX: 'models' }, /^S3_PREFIX must end in \//],
    ['an origin of another kind', { WEIGHTS_ORIGIN: 'file:///etc' }, /^WEIGHTS_ORIGIN must be/],
    ['an origin with a query', { WEIGHTS_ORIGIN: 'https://a.example/?token=secret' }, /^WEIGHTS_ORIGIN must be/],
  ])('should be refused by name when it is %s, and never shown', (_, variables, message) => {
    expect(() => configuredWeights(variables)).toThrow(SettingsError);
    expect(() => configuredWeights(variables)).toThrow(message);
    expect(() => configuredWeights(variables)).not.toThrow(/secret(?!_)|etc/);
  });

  it('should take an empty variable for none', () => {
    const empty = { S3_ENDPOINT: '', S3_SESSION_TOKEN: '', S3_PREFIX: '', WEIGHTS_ORIGIN_TOKEN: '' };
    expect(() => configuredWeights({ ...empty, WEIGHTS_ORIGIN: origin.url })).not.toThrow();
  });
});
