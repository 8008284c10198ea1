import { describe, expect, it } from 'vitest';
import { workerdConfig } from '../../scripts/serve/config.ts';
import { DEFAULT_MODELS, workerVariables } from '../../scripts/serve/variables.ts';

describe('the variables of a self-hosted worker', () => {
  it('should be its settings and the secrets of its backends', () => {
    const environment = {
      API_KEYS: 'a:b',
      PATH: '/bin',
      AWS_SECRET_ACCESS_KEY: 'not asked for',
      MERCURY_KEY: 'secret',
      BACKENDS: '{"mercury": {"base_url": "https://api.example/v1", "key": "MERCURY_KEY"}, "open": {}}',
    };
    expect(workerVariables(environment, ['API_KEYS', 'TIME_LIMIT_MS'])).toEqual({
      API_KEYS: 'a:b',
      BACKENDS: environment.BACKENDS,
      MERCURY_KEY: 'secret',
      MODEL: DEFAULT_MODELS,
    });
  });

  it('should leave it to the worker to say what is wrong with the backends', () => {
    for (const BACKENDS of ['{', '[]', 'null', '{"a": null}', '{"a": {"key": 1}}']) {
      expect(workerVariables({ BACKENDS, MODEL: 'small' }, [])).toEqual({ BACKENDS, MODEL: 'small' });
    }
  });
});

describe('the configuration of workerd', () => {
  it('should hold the names of variables and never their values', () => {
    const config = workerdConfig({
      bundle: { folder: '/b', main: 'm.js', wasm: ['k.wasm'], compatibilityDate: '2026-11-02', compatibilityFlags: [] },
      models: '/data/"models"\\',
      variables: ['API_KEYS'],
      folder: '/tmp/x',
    });
    expect(config).toContain('(name = "API_KEYS", fromEnvironment = "API_KEYS")');
    expect(config).toContain('esModule = embed "../../b/m.js"');
    expect(config).toContain('disk = (path = "/data/\\"models\\"\\\\")');
  });
});
