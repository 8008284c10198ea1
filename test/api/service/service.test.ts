import { describe, expect, it, vi } from 'vitest';
import { createApp, MAX_BODY_BYTES } from '../../../src/app.ts';
import { ModelCatalog } from '../../../src/engine/catalog.ts';
import { EngineBusy } from '../../../src/engine/errors.ts';
import { ModelUnavailable } from '../../../src/engine/provider.ts';
import { errorOf, post } from '../../support/requests.ts';
import { catalogOf, helloScript, scriptedEngine, unavailableModel } from '../../support/scripted-engine.ts';

const COMPLETIONS = '/v1/completions';

function appWithEngine() {
  return createApp(catalogOf(scriptedEngine()));
}

function appWithoutEngine() {
  const cause = new Error('bucket secret-bucket: SHA-256 differs');
  const damaged = new ModelUnavailable('nano', 'damaged', ['model.safetensors'], { cause });
  return createApp(new ModelCatalog([unavailableModel('nano', damaged)]));
}

describe('models', () => {
  const model = {
    id: 'nano',
    object: 'model',
    created: 1_700_000_000,
    owned_by: 'quicksilver',
    name: 'nano',
    input_modalities: ['text'],
    output_modalities: ['text'],
    context_length: 1056,
    max_output_length: 256,
    quicksilver: { canvas_widths: [8, 16, 32], reveal_threshold: 0.5, edit_threshold: 0.8 },
  };

  it('should list the model with the fields of OpenAI and of Inception', async () => {
    const response = await appWithEngine().request('/v1/models');
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({ object: 'list', data: [model] });
  });

  it('should say first how much context counts, and which languages', async () => {
    const engine = scriptedEngine();
    engine.model.window = { prefixTokens: 256, suffixTokens: 128 };
    engine.model.stored = { size: 4, digest: 'ab'.repeat(32), languages: ['typescript'] };
    const response = await createApp(catalogOf(engine)).request('/v1/models');
    expect(await response.json()).toMatchObject({
      data: [
        {
          type: 'base',
          capabilities: { completion_fim: true, completion_chat: false },
          context: { prefix_tokens: 256, suffix_tokens: 128 },
          max_context_length: 1056,
          languages: ['typescript'],
        },
      ],
    });
  });

  it('should give one model by its name, and 404 for another', async () => {
    const found = await appWithEngine().request('/v1/models/nano');
    expect(await found.json()).toMatchObject(model);
    const absent = await errorOf(await appWithEngine().request('/v1/models/other'));
    expect(absent).toMatchObject({ status: 404, code: 'model_not_found' });
  });
});

describe('health and readiness', () => {
  it('should say what this is', async () => {
    const body = await (await appWithEngine().request('/')).json();
    expect(body).toMatchObject({ name: 'quicksilver', model: 'nano', models: ['nano'] });
  });

  it('should be alive without a model', async () => {
    const response = await appWithoutEngine().request('/health');
    expect(response.status).toBe(200);
  });

  it('should be ready with a model', async () => {
    const response = await appWithEngine().request('/ready');
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({
      status: 'ready',
      model: 'nano',
      models: [{ id: 'nano', state: 'loaded' }],
    });
  });

  it('should be unready with the reason and the files at fault', async () => {
    const log = vi.spyOn(console, 'error').mockImplementation(() => {});
    const response = await appWithoutEngine().request('/ready');
    expect(response.status).toBe(503);
    expect(response.headers.get('retry-after')).toMatch(/^\d+$/);
    expect(await response.json()).toMatchObject({
      status: 'unavailable',
      reason: 'damaged',
      files: ['model.safetensors'],
    });
    log.mockRestore();
  });

  it('should answer 503 to a completion while the model is not available, without internals', async () => {
    const log = vi.spyOn(console, 'error').mockImplementation(() => {});
    const response = await post(appWithoutEngine(), COMPLETIONS, { model: 'nano', prompt: 'a' });
    expect(response.headers.get('retry-after')).toMatch(/^\d+$/);
    const error = await errorOf(response);
    expect(error).toMatchObject({ status: 503, type: 'server_error', param: null, code: 'model_unavailable' });
    expect(error.message).not.toContain('secret');
    expect(log).toHaveBeenCalled();
    log.mockRestore();
  });
});

describe('refusals', () => {
  it('should answer 400 for a body that is not JSON', async () => {
    const error = await errorOf(await post(appWithEngine(), COMPLETIONS, '{"model":'));
    expect(error).toMatchObject({ status: 400, type: 'invalid_request_error', param: null, code: 'invalid_json' });
  });

  it.each(['[]', '"text"', 'null', '5', ''])('should answer 400 for the body %j, which is no object', async (body) => {
    const error = await errorOf(await post(appWithEngine(), COMPLETIONS, body));
    expect(error).toMatchObject({ status: 400, code: 'invalid_json' });
  });

  it('should answer 415 for another content type', async () => {
    const response = await post(appWithEngine(), COMPLETIONS, 'prompt=a', {
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
    });
    expect(await errorOf(response)).toMatchObject({ status: 415, code: 'unsupported_media_type' });
  });

  it('should accept a content type with parameters', async () => {
    const response = await post(
      appWithEngine(),
      COMPLETIONS,
      { model: 'nano', prompt: 'a' },
      {
        headers: { 'content-type': 'application/json; charset=utf-8' },
      },
    );
    expect(response.status).toBe(200);
  });

  it('should answer 413 for a body over the limit, declared or not', async () => {
    const body = JSON.stringify({ model: 'nano', prompt: 'a'.repeat(MAX_BODY_BYTES) });
    const declared = await post(appWithEngine(), COMPLETIONS, body, {
      headers: { 'content-type': 'application/json', 'content-length': String(body.length) },
    });
    expect(await errorOf(declared)).toMatchObject({ status: 413, code: 'request_too_large' });
    const undeclared = await post(appWithEngine(), COMPLETIONS, body);
    expect(await errorOf(undeclared)).toMatchObject({ status: 413, code: 'request_too_large' });
  });

  it('should take a body just under the limit', async () => {
    const frame = JSON.stringify({ model: 'nano', prompt: '' });
    const body = JSON.stringify({ model: 'nano', prompt: 'a'.repeat(MAX_BODY_BYTES - frame.length) });
    expect((await post(appWithEngine(), COMPLETIONS, body)).status).toBe(200);
  });

  it('should answer 404 for a route that does not exist', async () => {
    expect(await errorOf(await appWithEngine().request('/v2/nothing'))).toMatchObject({
      status: 404,
      type: 'invalid_request_error',
      code: 'route_not_found',
    });
  });

  it.each([
    ['GET', '/v1/completions', 'POST'],
    ['DELETE', '/v1/fim/completions', 'POST'],
    ['POST', '/v1/models', 'GET, HEAD'],
    ['PUT', '/v1/models/nano', 'GET, HEAD'],
  ])('should answer 405 to %s %s and name what is allowed', async (method, path, allow) => {
    const response = await appWithEngine().request(path, { method });
    expect(response.headers.get('allow')).toBe(allow);
    expect(await errorOf(response)).toMatchObject({ status: 405, code: 'method_not_allowed' });
  });

  it('should answer 500 without internals and log the cause under the request id', async () => {
    const log = vi.spyOn(console, 'error').mockImplementation(() => {});
    const engine = scriptedEngine({
      ...helloScript,
      beforeFrame: () => {
        throw new Error('secret detail');
      },
    });
    const response = await post(createApp(catalogOf(engine)), COMPLETIONS, { model: 'nano', prompt: 'a' });
    const requestId = response.headers.get('x-request-id');
    const error = await errorOf(response);
    expect(error).toMatchObject({ status: 500, type: 'server_error', code: 'internal_error' });
    expect(error.message).toContain(requestId);
    expect(error.message).not.toContain('secret');
    expect(JSON.parse(log.mock.calls[0]![0])).toMatchObject({ id: requestId, message: 'secret detail' });
    log.mockRestore();
  });
});

describe('a busy engine', () => {
  it.each([false, true])('should answer 503 and say when to ask again, with stream: %s', async (stream) => {
    const engine = scriptedEngine({
      ...helloScript,
      beforeFrame: () => {
        throw new EngineBusy(64);
      },
    });
    const response = await post(createApp(catalogOf(engine)), COMPLETIONS, { model: 'nano', prompt: 'a', stream });
    expect(response.headers.get('retry-after')).toMatch(/^\d+$/);
    expect(await errorOf(response)).toMatchObject({ status: 503, type: 'server_error', code: 'engine_busy' });
  });
});

describe('the request id', () => {
  it('should be the one the client sent', async () => {
    const response = await appWithEngine().request('/health', { headers: { 'x-request-id': 'mine-1' } });
    expect(response.headers.get('x-request-id')).toBe('mine-1');
  });

  it.each(['/health', '/nowhere', '/v1/completions'])('should be on every answer: %s', async (path) => {
    const response = await appWithEngine().request(path);
    expect(response.headers.get('x-request-id')).toMatch(/^[\w-]{36}$/);
  });
});
