import { describe, expect, it } from 'vitest';
import { readSettings, SettingsError } from '../src/settings.ts';

const HASH = 'ab'.repeat(32);

describe('readSettings', () => {
  it('should have a default for everything', () => {
    expect(readSettings({})).toEqual({
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

  it('should read numbers as wrangler.toml and the environment write them', () => {
    expect(readSettings({ TIME_LIMIT_MS: 500, MAX_WAITING: '7' })).toMatchObject({ timeLimitMs: 500, maxWaiting: 7 });
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
  ])('should refuse %j by name, without its value', (variables, message) => {
    expect(() => readSettings(variables)).toThrow(SettingsError);
    expect(() => readSettings(variables)).toThrow(message);
    expect(() => readSettings(variables)).not.toThrow('secret');
  });
});
