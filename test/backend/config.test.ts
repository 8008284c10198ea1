import { describe, expect, it } from 'vitest';
import { BackendConfigError, readBackends } from '../../src/backend/config.ts';

const base_url = 'https://gpu.example/v1/';
const read = (value: unknown, bindings = {}) => readBackends(JSON.stringify(value), bindings);

function problemsOf(value: unknown, bindings = {}): readonly string[] {
  try {
    read(value, bindings);
  } catch (error) {
    if (error instanceof BackendConfigError) return error.problems;
    throw error;
  }
  throw new Error('no problem');
}

describe('BACKENDS', () => {
  it.each([undefined, '', ' '])('should mean no backends when it is %j', (json) => {
    expect(readBackends(json, {})).toEqual([]);
  });

  it('should need no more than a base URL', () => {
    const [backend] = read({ gpu: { base_url } });
    expect(backend).toMatchObject({
      name: 'gpu',
      base_url: 'https://gpu.example/v1',
      key: undefined,
      dialect: 'openai',
      models: [],
      default: false,
      retries: 2,
    });
  });

  it('should be read as text and as the object that a table of wrangler.toml makes', () => {
    const value = { gpu: { base_url, models: ['m'] } };
    expect(readBackends(value, {})).toEqual(readBackends(JSON.stringify(value), {}));
    expect(readBackends(value, {})).toHaveLength(1);
  });

  it('should take the key from the binding that it names', () => {
    expect(read({ gpu: { base_url, key: 'GPU_KEY' } }, { GPU_KEY: 'sk-1' })[0]?.key).toBe('sk-1');
    expect(problemsOf({ gpu: { base_url, key: 'GPU_KEY' } })).toEqual([
      'BACKENDS.gpu.key: there is no secret named GPU_KEY',
    ]);
  });

  it('should offer edits only in the dialect that has them', () => {
    const [openai, inception] = read({ a: { base_url }, b: { base_url, dialect: 'inception' } });
    expect(openai?.paths.edit).toBeUndefined();
    expect(inception?.paths.edit).toBe('/edit/completions');
  });

  it.each([
    ['no base URL', { gpu: {} }, /^BACKENDS\.gpu\.base_url: /],
    ['a base URL of another kind', { gpu: { base_url: 'file:///etc/passwd' } }, /base_url: must be an http or https/],
    ['a base URL with a key in it', { gpu: { base_url: 'https://u:secret@gpu.example' } }, /base_url: must be an http/],
    ['a setting that does not exist', { gpu: { base_url, timeout: 1 } }, /^BACKENDS\.gpu: .*timeout/],
    ['too many retries', { gpu: { base_url, retries: 6 } }, /^BACKENDS\.gpu\.retries: /],
    ['the name that stands for the local model', { local: { base_url } }, /^BACKENDS\.local: .*is not "local"/],
    ['a name with a space', { 'a b': { base_url } }, /^BACKENDS\.a b: /],
    ['a fall-back that does not exist', { a: { base_url, fallback: ['b'] } }, /no backend named b/],
    ['a fall-back to itself', { a: { base_url, fallback: ['a'] } }, /a\.fallback: names itself/],
    [
      'one model at two backends',
      { a: { base_url, models: ['m'] }, b: { base_url, models: ['m'] } },
      /m is already one of a/,
    ],
    [
      'an alias that is a model elsewhere',
      { a: { base_url, models: ['m'] }, b: { base_url, aliases: { m: 'x' } } },
      /m is already/,
    ],
    [
      'an alias that is a pattern',
      { a: { base_url, aliases: { 'm*': 'x' } } },
      /^BACKENDS\.a\.aliases\.m\*: .*not a pattern/,
    ],
    ['two defaults', { a: { base_url, default: true }, b: { base_url, default: true } }, /a and b/],
    ['a model named auto', { a: { base_url, models: ['auto'] } }, /a\.models: auto is not a model/],
    ['a list', [], /^BACKENDS: /],
  ])('should refuse %s, and never show a value', (_, value, problem) => {
    const problems = problemsOf(value);
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatch(problem);
    expect(problems[0]).not.toMatch(/secret@|passwd/);
  });

  it('should name everything that is wrong at once', () => {
    expect(problemsOf({ a: { base_url: 'x', retries: -1 }, b: { base_url, models: [''] } })).toHaveLength(3);
    expect(() => readBackends('{', {})).toThrow(new BackendConfigError(['BACKENDS: is not valid JSON']));
  });
});
