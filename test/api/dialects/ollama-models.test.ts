import { describe, expect, it } from 'vitest';
import { createApp } from '../../../src/app.ts';
import { post } from '../../support/requests.ts';
import { catalogOf, helloScript, scriptedEngine } from '../../support/scripted-engine.ts';

const DIGEST = 'ab'.repeat(32);
const stored = { size: 3_840_974, digest: DIGEST, parameters: 5_476_352, bits: 4, languages: ['typescript'] };

function setUp() {
  const engine = scriptedEngine();
  engine.model.stored = stored;
  engine.model.window = { prefixTokens: 256, suffixTokens: 128 };
  return createApp(catalogOf(engine));
}

const DETAILS = { parameter_size: '5.5M', quantization_level: 'int4', family: 'quicksilver' };

describe("what Ollama's clients ask at start", () => {
  it.each(['/api/tags', '/api/ps'])('should report size, digest and details of the model: %s', async (path) => {
    const response = await setUp().request(path);
    expect(await response.json()).toMatchObject({
      models: [{ name: 'nano:latest', model: 'nano:latest', size: stored.size, digest: DIGEST, details: DETAILS }],
    });
  });

  it('should say when a loaded model goes, and how much it sees', async () => {
    expect(await (await setUp().request('/api/ps')).json()).toMatchObject({
      models: [{ expires_at: expect.stringMatching(/^2318/), size_vram: 0, context_length: 1056 }],
    });
  });

  it('should name a version that can be compared', async () => {
    expect(await (await setUp().request('/api/version')).json()).toEqual({
      version: expect.stringMatching(/^\d+\.\d+\.\d+$/),
    });
  });

  it.each([{ model: 'nano' }, { model: 'nano:latest' }, { name: 'nano' }])(
    'should show the model as one that fills in, for %j',
    async (body) => {
      const response = await post(setUp(), '/api/show', body);
      expect(await response.json()).toMatchObject({
        template: expect.stringContaining('.Suffix'),
        capabilities: ['completion', 'insert'],
        details: DETAILS,
        model_info: {
          'general.architecture': 'quicksilver',
          'general.parameter_count': stored.parameters,
          'quicksilver.context_length': 1056,
          'quicksilver.prefix_tokens': 256,
          'quicksilver.suffix_tokens': 128,
        },
      });
    },
  );

  it('should have a template whose markers are read where a client applies it', async () => {
    const engine = scriptedEngine(helloScript);
    const app = createApp(catalogOf(engine));
    const { template } = (await (await post(app, '/api/show', { model: 'nano' })).json()) as { template: string };
    const prompt = /if \.Suffix \}\}(.*)\{\{ else/
      .exec(template)![1]!
      .replace('{{ .Prompt }}', 'a')
      .replace('{{ .Suffix }}', 'b');
    await post(app, '/api/generate', { model: 'nano', prompt, raw: true });
    expect(engine.requests).toMatchObject([{ prefix: 'a', suffix: 'b' }]);
  });

  it.each(['/api/chat', '/api/embed', '/api/embeddings'])(
    'should be refused with 400 if the model cannot do it: %s',
    async (path) => {
      const known = await post(setUp(), path, { model: 'nano', messages: [{ role: 'user', content: 'a' }] });
      expect(known.status).toBe(400);
      expect(await known.json()).toEqual({
        error: expect.stringMatching(/^"nano" does not support (chat|embeddings)$/),
      });
      expect((await post(setUp(), path, { model: 'llama3' })).status).toBe(404);
    },
  );

  it.each(['/api/generate', '/api/show', '/api/chat'])(
    'should answer 404 without a model, as Ollama does: %s',
    async (path) => {
      expect((await post(setUp(), path, { prompt: 'a' })).status).toBe(404);
    },
  );
});

describe('POST /api/generate', () => {
  it.each([0, '0', '0s', '0m0s'])(
    'should say that a model is unloaded for keep_alive %j, as Ollama does',
    async (keep_alive) => {
      const response = await post(setUp(), '/api/generate', { model: 'nano', keep_alive });
      expect(await response.json()).toMatchObject({ done: true, done_reason: 'unload' });
    },
  );

  it('should refuse text that does not fit only when told not to truncate', async () => {
    const long = { model: 'nano', prompt: 'a'.repeat(256), stream: false };
    expect((await post(setUp(), '/api/generate', long)).status).toBe(200);
    const response = await post(setUp(), '/api/generate', { ...long, truncate: false });
    expect(response.status).toBe(400);
    expect(await response.json()).toEqual({ error: expect.stringMatching(/^truncate: .*255 tokens/) });
    expect((await post(setUp(), '/api/generate', { ...long, prompt: 'a'.repeat(255), truncate: false })).status).toBe(
      200,
    );
  });
});
