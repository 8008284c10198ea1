import { describe, expect, it } from 'vitest';
import { readSettings, requireLimiter, SettingsError } from '../src/settings.ts';

const HASH = 'ab'.repeat(32);

describe('readSettings', () => {
  it('should have a default for everything', () => {
    expect(readSettings({})).toEqual({
      models: [],
      keys: [],
      origins: [],
      timeLimitMs: 30_000,
      maxWaiting: 64,
      rateLimitRequests: undefined,
      rateLimitPeriodSeconds: undefined,
    });
  });

  it('should read keys and origins from lists with commas, blanks or line ends', () => {
    const { keys, origins } = readSettings({
      API_KEYS: `\none:${HASH},two:${HASH.toUpperCase()}\n`,
      ALLOWED_ORIGINS: 'https://a.example http://localhost:3000',
    });
    expect(keys.map(({ name }) => name)).toEqual(['one', 'two']);
    expect(keys[0]!.hash).toEqual(new Uint8Array(32).fill(0xab));
    expect(keys[1]!.hash).toEqual(keys[0]!.hash);
    expect(origins).toEqual(['https://a.example', 'http://localhost:3000']);
  });

  it.each([
    ['nano', ['nano']],
    ['small,nano', ['small', 'nano']],
    [' small, nano\n', ['small', 'nano']],
    ['', []],
  ])('should read the models of %j, the default first', (MODEL, models) => {
    expect(readSettings({ MODEL }).models).toEqual(models);
  });

  it('should read numbers as wrangler.toml and the environment write them', () => {
    expect(readSettings({ TIME_LIMIT_MS: 500, MAX_WAITING: '7' })).toMatchObject({ timeLimitMs: 500, maxWaiting: 7 });
  });

  it('should take an empty variable for none', () => {
    const none = { MODEL: '', API_KEYS: '', TIME_LIMIT_MS: '', MAX_WAITING: '', RATE_LIMIT_REQUESTS: '' };
    expect(readSettings(none)).toEqual(readSettings({}));
  });

  it('should read what a key is for', () => {
    const { keys } = readSettings({ API_KEYS: `one:${HASH}:metrics,two:${HASH}` });
    expect(keys.map(({ scope }) => scope)).toEqual(['metrics', undefined]);
  });

  it('should refuse a limit where nothing counts', () => {
    expect(() => requireLimiter({ RATE_LIMIT_REQUESTS: 5 }, undefined)).toThrow('without the binding RATE_LIMITER');
    expect(() => requireLimiter({ RATE_LIMIT_REQUESTS: 5 }, {})).not.toThrow();
    expect(() => requireLimiter({}, undefined)).not.toThrow();
  });

  it.each([
    [{ API_KEYS: `one:${HASH}, two:secret` }, 'API_KEYS entry 2'],
    [{ API_KEYS: 'qs_secret' }, 'API_KEYS entry 1'],
    [{ API_KEYS: `a secret:${HASH}` }, 'API_KEYS entry 1'],
    [{ ALLOWED_ORIGINS: 'https://secret.example/path' }, 'ALLOWED_ORIGINS must hold origins'],
    [{ ALLOWED_ORIGINS: 'secret.example' }, 'ALLOWED_ORIGINS must hold origins'],
    [{ TIME_LIMIT_MS: 'secret' }, 'TIME_LIMIT_MS must be a number'],
    [{ TIME_LIMIT_MS: 2 ** 31 }, 'TIME_LIMIT_MS'],
    [{ MAX_WAITING: 0 }, 'MAX_WAITING'],
    [{ RATE_LIMIT_REQUESTS: 1.5 }, 'RATE_LIMIT_REQUESTS must be a whole number'],
    [{ RATE_LIMIT_PERIOD_SECONDS: 10 }, 'RATE_LIMIT_PERIOD_SECONDS does nothing without RATE_LIMIT_REQUESTS'],
    [{ API_KEYS: `one:${HASH}:secret` }, 'API_KEYS entry 1'],
    [{ MODEL: '../secret' }, 'MODEL must be the name of a folder'],
    [{ MODEL: 'small,../secret' }, 'MODEL must be the name of a folder'],
    [{ MODEL: 'secret,secret' }, 'MODEL must not name a model twice'],
    [{ MODEL: '.' }, 'MODEL must be the name of a folder'],
  ])('should refuse %j by name, without its value', (variables, message) => {
    expect(() => readSettings(variables)).toThrow(SettingsError);
    expect(() => readSettings(variables)).toThrow(message);
    expect(() => readSettings(variables)).not.toThrow('secret');
  });
});
