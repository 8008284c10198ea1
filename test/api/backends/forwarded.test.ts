import { describe, expect, it, vi } from 'vitest';
import { createApp } from '../../../src/app.ts';
import { configuredGateway } from '../../../src/backend/gateway.ts';
import { answerJson } from '../../backend/server.ts';
import { appWith, open, quick, tidyUp } from '../../backend/support.ts';
import { errorOf, post } from '../../support/requests.ts';
import { catalogOf, scriptedEngine } from '../../support/scripted-engine.ts';

tidyUp();

const PATHS = ['/v1/chat/completions', '/v1/edit/completions', '/v1/apply/completions'];
const provider = () => catalogOf(scriptedEngine());

describe.each(PATHS)('POST %s', (path) => {
  it('should go to the backend that has the model', async () => {
    const [first, second] = [
      await open((response) => answerJson(response)),
      await open((response) => answerJson(response)),
    ];
    const app = appWith({
      first: quick(first.url, { dialect: 'inception', default: true }),
      second: quick(second.url, { dialect: 'inception', models: ['large-*'] }),
    });
    const response = await post(app, path, { model: 'large-1', messages: [] });
    expect(response.status).toBe(200);
    expect(response.headers.get('x-quicksilver-route')).toBe('model');
    expect(first.received).toEqual([]);
    expect(second.received.map((request) => request.path)).toEqual([path]);
  });

  it('should name what to configure when there is no backend for it', async () => {
    const response = await post(createApp(provider()), path, { model: 'nano', messages: [] });
    const error = await errorOf(response);
    expect(error).toMatchObject({
      status: 400,
      type: 'invalid_request_error',
      param: 'model',
      code: 'backend_required',
    });
    expect(error.message).toMatch(/BACKENDS.*docs\/backends\.md/);
    const unknown = await errorOf(await post(createApp(provider()), path, { model: 'gpt-4', messages: [] }));
    expect(unknown).toMatchObject({ status: 404, param: 'model', code: 'model_not_found' });
  });

  it('should answer 400 to a body that names no model, and 405 to another method', async () => {
    const app = createApp(provider());
    expect(await errorOf(await post(app, path, { messages: [] }))).toMatchObject({ status: 400, param: 'model' });
    const tooLong = await post(app, path, { model: 'm'.repeat(257) });
    expect(await errorOf(tooLong)).toMatchObject({ status: 400, param: 'model' });
    expect((await app.request(path)).status).toBe(405);
  });
});

describe('models of backends', () => {
  const app = () =>
    appWith({ big: { base_url: 'https://gpu.example/v1', models: ['large', 'org/other', 'pattern-*'] } });

  it('should be listed after the local model by their exact names', async () => {
    const list = (await (await app().request('/v1/models')).json()) as { data: { id: string; owned_by: string }[] };
    expect(list.data.map(({ id, owned_by }) => [id, owned_by])).toEqual([
      ['nano', 'quicksilver'],
      ['large', 'big'],
      ['org/other', 'big'],
    ]);
  });

  it('should be found one by one', async () => {
    const found = await app().request('/v1/models/org%2Fother');
    expect(await found.json()).toEqual({
      id: 'org/other',
      object: 'model',
      created: 0,
      owned_by: 'big',
      name: 'org/other',
      type: 'base',
      capabilities: {},
    });
    expect((await app().request('/v1/models/pattern-1')).status).toBe(404);
  });
});

describe('a wrong configuration', () => {
  function misconfigured(bindings: object) {
    const log = vi.spyOn(console, 'error').mockImplementation(() => {});
    const app = createApp(provider(), configuredGateway(bindings));
    log.mockRestore();
    return app;
  }

  it('should be in /ready, with every error and no value', async () => {
    const app = misconfigured({ BACKENDS: '{"big": {"base_url": "secret", "key": 5, "tries": 3}}' });
    const response = await app.request('/ready');
    expect(response.status).toBe(503);
    const body = (await response.json()) as { problems: string[] };
    expect(body).toMatchObject({ status: 'unavailable', reason: 'misconfigured' });
    expect(body.problems.map((problem) => problem.split(':')[0])).toEqual([
      'BACKENDS.big.base_url',
      'BACKENDS.big.key',
      'BACKENDS.big',
    ]);
    expect(JSON.stringify(body)).not.toContain('secret');
  });

  it.each(['0.5', 'high'])('should also be reported for the threshold %s', async (AUTO_MIN_CONFIDENCE) => {
    const body = await (await misconfigured({ AUTO_MIN_CONFIDENCE }).request('/ready')).json();
    expect(body).toMatchObject({ problems: [expect.stringMatching(/^AUTO_MIN_CONFIDENCE: /)] });
  });

  it('should not affect the local model, and refuse what backends would answer', async () => {
    const app = misconfigured({ BACKENDS: '{' });
    expect((await post(app, '/v1/completions', { model: 'nano', prompt: 'a' })).status).toBe(200);
    for (const path of [...PATHS, '/v1/completions']) {
      const error = await errorOf(await post(app, path, { model: 'large', prompt: 'a' }));
      expect(error).toMatchObject({ status: 503, type: 'server_error', code: 'backend_misconfigured' });
    }
  });

  it('should be none when nothing is set', async () => {
    const app = createApp(provider(), configuredGateway({}));
    expect((await app.request('/ready')).status).toBe(200);
  });
});
