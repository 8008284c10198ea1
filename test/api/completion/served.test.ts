/** One service with several local models, in every dialect. */
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { createApp } from '../../../src/app.ts';
import { readBackends } from '../../../src/backend/config.ts';
import { gatewayOf } from '../../../src/backend/gateway.ts';
import { ModelCatalog } from '../../../src/engine/catalog.ts';
import { ModelUnavailable } from '../../../src/engine/provider.ts';
import { ServiceMetrics } from '../../../src/metrics/service-metrics.ts';
import type { LogLine } from '../../../src/middleware/observe.ts';
import { answerJson } from '../../backend/server.ts';
import { open, quick, tidyUp } from '../../backend/support.ts';
import { errorOf, eventsOf, post } from '../../support/requests.ts';
import { catalogOf, type ScriptedEngine, scriptedEngine, unavailableModel } from '../../support/scripted-engine.ts';

tidyUp();

const SIZE = 4_000_000;

/** `large` is the default. */
let large: ScriptedEngine;
let little: ScriptedEngine;
let app: ReturnType<typeof createApp>;
let lines: LogLine[];
let metrics: ServiceMetrics;

function engineNamed(id: string): ScriptedEngine {
  const engine = scriptedEngine();
  engine.model.id = id;
  engine.model.stored = { size: SIZE, digest: 'ab'.repeat(32), languages: [], parameters: 5_500_000 };
  return engine;
}

beforeEach(() => {
  large = engineNamed('large');
  little = engineNamed('little');
  lines = [];
  metrics = new ServiceMetrics();
  app = createApp(catalogOf(large, little), undefined, { log: (line) => lines.push(line), metrics });
});

/** Which of the two has generated, and how often. */
const generated = () => ({ large: large.requests.length, little: little.requests.length });

/** `little` can be used, `large` cannot, which is the default. */
function withoutDefault() {
  const damaged = new ModelUnavailable('large', 'damaged', ['model.safetensors'], { cause: new Error('SHA-256') });
  const [model] = catalogOf(little).all;
  return createApp(new ModelCatalog([unavailableModel('large', damaged), model!]));
}

function withoutOther() {
  const missing = new ModelUnavailable('little', 'missing', ['manifest.json'], {});
  const [model] = catalogOf(large).all;
  return createApp(new ModelCatalog([model!, unavailableModel('little', missing)]));
}

const DIALECTS: [path: string, body: object][] = [
  ['/v1/completions', { prompt: 'a' }],
  ['/v1/fim/completions', { prompt: 'a', suffix: 'b' }],
  ['/beta/completions', { prompt: 'a' }],
  ['/infill', { input_prefix: 'a' }],
  ['/completion', { prompt: 'a' }],
  ['/api/generate', { prompt: 'a', stream: false }],
];

describe('the name in a request', () => {
  it.each(DIALECTS)('should choose the model: %s', async (path, body) => {
    const response = await post(app, path, { ...body, model: 'little' });
    expect(await response.json()).toMatchObject({ model: 'little' });
    expect(generated()).toEqual({ large: 0, little: 1 });
    await post(app, path, { ...body, model: 'large' });
    expect(generated()).toEqual({ large: 1, little: 1 });
  });

  // Ollama answers 404 to a request that names none.
  it.each(DIALECTS.slice(0, -1))(
    'should be the default where there is none, or an empty one: %s',
    async (path, body) => {
      expect(await (await post(app, path, body)).json()).toMatchObject({ model: 'large' });
      expect(await (await post(app, path, { ...body, model: '' })).json()).toMatchObject({ model: 'large' });
      expect(generated()).toEqual({ large: 2, little: 0 });
    },
  );

  it.each(DIALECTS)(
    'should be refused where nobody has it, and the message names those that are there: %s',
    async (path, body) => {
      const response = await post(app, path, { ...body, model: 'other' });
      expect(response.status).toBe(404);
      expect(await response.text()).toContain("this service has 'large', 'little'");
      expect(generated()).toEqual({ large: 0, little: 0 });
    },
  );

  it('should stand in each chunk of a stream', async () => {
    const events = await eventsOf<{ model: string }>(
      await post(app, '/v1/completions', { model: 'little', prompt: 'a', stream: true }),
    );
    expect(new Set(events.map((event) => (event === '[DONE]' ? 'little' : event.model)))).toEqual(new Set(['little']));
  });

  it('should choose whose tokens are told', async () => {
    Object.assign(little, { vocabulary: { ...little.vocabulary, encode: () => [97, 97], decode: () => 'aa' } });
    const tokens = (body: object) => post(app, '/tokenize', { content: 'ab', ...body }).then((answer) => answer.json());
    expect(await tokens({ model: 'little' })).toEqual({ tokens: [97, 97] });
    expect(await tokens({})).not.toEqual({ tokens: [97, 97] });
    const text = (body: object) => post(app, '/detokenize', { tokens: [97], ...body }).then((answer) => answer.json());
    expect(await text({ model: 'little' })).toEqual({ content: 'aa' });
    expect(await text({})).not.toEqual({ content: 'aa' });
    expect((await post(app, '/tokenize', { content: 'a', model: 'other' })).status).toBe(404);
  });

  it('should take the default for auto, and for clients of Tabby, who name none', async () => {
    expect(await (await post(app, '/v1/completions', { model: 'auto', prompt: 'a' })).json()).toMatchObject({
      model: 'large',
    });
    await post(app, '/v1/completions', { segments: { prefix: 'a' } });
    expect(generated()).toEqual({ large: 2, little: 0 });
    expect(await (await app.request('/v1/health')).json()).toMatchObject({ model: 'large' });
    expect(await (await app.request('/props')).json()).toMatchObject({ model_alias: 'large' });
  });

  it('should not go to a backend when it is one of ours or empty', async () => {
    const server = await open((response) => answerJson(response));
    const backends = readBackends(JSON.stringify({ big: quick(server.url, { default: true }) }), { BACKEND_KEY: 'k' });
    const behind = createApp(catalogOf(large, little), gatewayOf(backends));
    for (const model of ['large', 'little', '']) await post(behind, '/v1/completions', { model, prompt: 'a' });
    expect(server.received).toEqual([]);
    expect(generated()).toEqual({ large: 2, little: 1 });
    await post(behind, '/v1/completions', { model: 'other', prompt: 'a' });
    expect(server.received).toHaveLength(1);
  });
});

describe('lists', () => {
  it('should have both models, the default first, with what it takes to run them elsewhere', async () => {
    const quicksilver = { size_bytes: SIZE, parameters: 5_500_000 };
    expect(await (await app.request('/v1/models')).json()).toMatchObject({
      data: [
        { id: 'large', quicksilver },
        { id: 'little', quicksilver },
      ],
    });
    expect(await (await app.request('/v1/models/little')).json()).toMatchObject({ id: 'little' });
    expect(await (await app.request('/')).json()).toMatchObject({ model: 'large', models: ['large', 'little'] });
  });

  it('should name both models to clients of Ollama', async () => {
    const models = [{ name: 'large:latest' }, { name: 'little:latest' }];
    expect(await (await app.request('/api/tags')).json()).toMatchObject({ models });
    expect(await (await app.request('/api/ps')).json()).toMatchObject({ models });
    expect(await (await post(app, '/api/show', { model: 'little:latest' })).json()).toMatchObject({
      model_info: { 'general.basename': 'little' },
    });
    const answer = await post(app, '/api/generate', { model: 'little:latest', prompt: 'a', stream: false });
    expect(await answer.json()).toMatchObject({ model: 'little:latest' });
    expect(generated()).toEqual({ large: 0, little: 1 });
  });
});

describe('a model that cannot be used', () => {
  beforeEach(() => {
    const log = vi.spyOn(console, 'error').mockImplementation(() => {});
    return () => log.mockRestore();
  });

  it.each(DIALECTS)('should be answered 503, and never by the other one: %s', async (path, body) => {
    const response = await post(withoutDefault(), path, { ...body, model: 'large' });
    expect(response.status).toBe(503);
    expect(await response.text()).toContain("The model 'large' is not available: damaged model.safetensors.");
    expect((await post(withoutDefault(), path, { ...body, model: 'little' })).status).toBe(200);
    expect(generated()).toEqual({ large: 0, little: 1 });
  });

  it('should be left out of lists', async () => {
    expect(await (await withoutDefault().request('/v1/models')).json()).toMatchObject({ data: [{ id: 'little' }] });
    expect(await (await withoutDefault().request('/api/tags')).json()).toMatchObject({
      models: [{ model: 'little:latest' }],
    });
    expect(await (await withoutDefault().request('/api/ps')).json()).toMatchObject({
      models: [{ model: 'little:latest' }],
    });
    expect(await errorOf(await withoutDefault().request('/v1/models/large'))).toMatchObject({
      status: 503,
      code: 'model_unavailable',
    });
  });

  it('should make the service unready when it is the default, with the state of both', async () => {
    const response = await withoutDefault().request('/ready');
    expect(response.status).toBe(503);
    expect(await response.json()).toMatchObject({
      status: 'unavailable',
      reason: 'damaged',
      models: [
        { id: 'large', state: 'unavailable', reason: 'damaged', files: ['model.safetensors'] },
        { id: 'little', state: 'loaded' },
      ],
    });
  });

  it('should be told by a service that is ready when it is another one', async () => {
    const response = await withoutOther().request('/ready');
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({
      status: 'ready',
      model: 'large',
      models: [
        { id: 'large', state: 'loaded' },
        { id: 'little', state: 'unavailable', reason: 'missing', files: ['manifest.json'] },
      ],
    });
  });
});

describe('what an operator sees', () => {
  it('should name the model that answered in log and metrics', async () => {
    await post(app, '/v1/completions', { model: 'little', prompt: 'a' });
    await post(app, '/infill', { input_prefix: 'a' });
    expect(lines).toMatchObject([{ model: 'little' }, { model: 'large' }]);
    const page = metrics.text();
    for (const model of ['large', 'little']) {
      expect(page).toContain(`quicksilver_completions_total{model="${model}",outcome="stop"} 1`);
      expect(page).toContain(`quicksilver_completion_tokens_total{model="${model}"} 4`);
      expect(page).toContain(`quicksilver_model_info{model="${model}",`);
      expect(page).toContain(`quicksilver_queue_length{model="${model}"} 0`);
    }
  });

  it('should name the model that could not answer', async () => {
    const log = vi.spyOn(console, 'error').mockImplementation(() => {});
    const failing = createApp(new ModelCatalog([unavailableModel('large')]), undefined, {
      log: (line) => lines.push(line),
    });
    await post(failing, '/v1/completions', { prompt: 'a' });
    expect(lines).toMatchObject([{ status: 503, error: 'model_unavailable', model: 'large' }]);
    log.mockRestore();
  });
});
