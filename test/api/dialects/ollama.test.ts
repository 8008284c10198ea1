import { setTimeout as sleep } from 'node:timers/promises';
import { Ollama } from 'ollama';
import { describe, expect, it, vi } from 'vitest';
import { createApp, MAX_BODY_BYTES } from '../../../src/app.ts';
import { post } from '../../support/requests.ts';
import { catalogOf, helloScript, type Script, scriptedEngine, usage } from '../../support/scripted-engine.ts';

function setUp(script: Script = helloScript) {
  const engine = scriptedEngine(script);
  const app = createApp(catalogOf(engine));
  return { app, engine, ask: (body: object) => post(app, '/api/generate', { model: 'nano', ...body }) };
}

const linesOf = async (response: Response) =>
  (await response.text()).split('\n').map((line) => (line === '' ? line : JSON.parse(line)));

const timed = {
  ...helloScript,
  completion: { ...helloScript.completion, usage: { ...usage, cpuMs: 3, prefillMs: 1 } },
};

const END = {
  done: true,
  done_reason: 'stop',
  total_duration: expect.any(Number),
  load_duration: 0,
  prompt_eval_count: 5,
  prompt_eval_duration: 1_000_000,
  eval_count: 4,
  eval_duration: 2_000_000,
};

describe('POST /api/generate', () => {
  it('should stream one object per line unless told not to', async () => {
    const { ask } = setUp(timed);
    const response = await ask({ prompt: 'say ', suffix: '.' });
    expect(response.headers.get('content-type')).toMatch(/^application\/x-ndjson/);
    const header = { model: 'nano', created_at: expect.stringMatching(/^\d{4}-.*Z$/) };
    expect(await linesOf(response)).toEqual([
      { ...header, response: 'hello ', done: false },
      { ...header, response: 'world', done: false },
      { ...header, response: '!', done: false },
      { ...header, response: '', ...END },
      '',
    ]);
  });

  it('should answer one object without a stream', async () => {
    const { ask } = setUp(timed);
    const response = await ask({ prompt: 'say ', stream: false });
    expect(await response.json()).toEqual({
      model: 'nano',
      created_at: expect.any(String),
      response: 'hello world!',
      ...END,
    });
  });

  it('should hand the options to the engine', async () => {
    const { ask, engine } = setUp();
    const options = {
      num_predict: 9,
      temperature: 0.5,
      top_p: 0.9,
      seed: 3,
      stop: ['\n'],
      presence_penalty: 1,
      top_k: 40,
      num_ctx: 9,
    };
    await ask({ prompt: 'a', suffix: 'b', raw: true, keep_alive: '5m', options });
    expect(engine.requests).toEqual([
      {
        prefix: 'a',
        suffix: 'b',
        maxTokens: 9,
        temperature: 0.5,
        topP: 0.9,
        presencePenalty: 1,
        seed: 3,
        stop: ['\n'],
      },
    ]);
  });

  it('should read a suffix in the options, where LiteLLM writes it, unless there is one next to the prompt', async () => {
    const { ask, engine } = setUp();
    await ask({ prompt: 'a', options: { suffix: 'b' } });
    await ask({ prompt: 'a', suffix: 'c', options: { suffix: 'b' } });
    await ask({ prompt: '', options: { suffix: 'd' } });
    expect(engine.requests.map(({ suffix }) => suffix)).toEqual(['b', 'c', 'd']);
  });

  it('should write as much as fits when num_predict is negative', async () => {
    const { ask, engine } = setUp();
    await ask({ prompt: 'a', options: { num_predict: -1 } });
    expect(engine.requests).toMatchObject([{ maxTokens: engine.model.maxOutputTokens }]);
  });

  it('should read the markers in a prompt of Zed', async () => {
    const { ask, engine } = setUp();
    await ask({ prompt: '<|fim_prefix|>a<|fim_suffix|>b<|fim_middle|>', raw: true, stream: false });
    expect(engine.requests).toMatchObject([{ prefix: 'a', suffix: 'b' }]);
  });

  it('should know its model with the tag that Ollama adds, and name it as it was asked for', async () => {
    const { ask } = setUp();
    expect(await (await ask({ model: 'nano:latest', prompt: 'a', stream: false })).json()).toMatchObject({
      model: 'nano:latest',
    });
  });

  it('should load the model when there is nothing to complete', async () => {
    const { ask, engine } = setUp();
    expect(await (await ask({})).json()).toMatchObject({ response: '', done: true, done_reason: 'load' });
    expect(engine.requests).toEqual([]);
  });

  it('should answer what an editor can show when asked', async () => {
    const completion = { ...helloScript.completion, text: 'a\n\n\n' };
    const { ask } = setUp({ frames: helloScript.frames, completion });
    expect(await linesOf(await ask({ prompt: 'say ', editor: true }))).toMatchObject([
      { response: 'a', done: false },
      { response: '', done: true },
      '',
    ]);
  });

  it.each([
    ['system', { system: 'You are' }],
    ['format', { format: 'json' }],
    ['images', { images: ['aGk='] }],
    ['options.temperature', { options: { temperature: 'hot' } }],
    ['model', { model: 'llama3' }],
  ])('should refuse %s in the way of Ollama for %j', async (param, fields) => {
    const { ask, engine } = setUp();
    const response = await ask({ prompt: 'a', ...fields });
    expect(response.status).toBe(param === 'model' ? 404 : 400);
    expect(await response.json()).toEqual({ error: expect.stringContaining(param === 'model' ? 'llama3' : param) });
    expect(engine.requests).toEqual([]);
  });

  it.each([
    ['a body that is too large', '/api/generate', { method: 'POST', body: 'x'.repeat(MAX_BODY_BYTES + 1) }, 413],
    ['another method', '/api/generate', {}, 405],
    ['a path that is not served', '/api/chat', { method: 'POST', body: '{}' }, 404],
  ])('should refuse %s in the way of Ollama', async (_, path, init, status) => {
    const response = await createApp(catalogOf(scriptedEngine())).request(path, init);
    expect(response.status).toBe(status);
    expect(await response.json()).toEqual({ error: expect.any(String) });
  });

  it('should accept parameters that ask for nothing', async () => {
    const { ask } = setUp();
    expect((await ask({ prompt: 'a', system: '', images: [], format: '', context: [], think: false })).status).toBe(
      200,
    );
  });

  it('should end a stream that fails with a line that says so', async () => {
    const log = vi.spyOn(console, 'error').mockImplementation(() => {});
    const { ask } = setUp({
      ...helloScript,
      beforeFrame: (frame) => {
        if (frame === 1) throw new Error('secret detail');
      },
    });
    const lines = await linesOf(await ask({ prompt: 'a' }));
    expect(lines).toMatchObject([{ response: 'hello ' }, { error: expect.any(String) }, '']);
    expect(JSON.stringify(lines)).not.toContain('secret');
    log.mockRestore();
  });
});

describe('GET /api/tags', () => {
  it('should list the model', async () => {
    const response = await setUp().app.request('/api/tags');
    expect(await response.json()).toMatchObject({
      models: [
        {
          name: 'nano:latest',
          model: 'nano:latest',
          modified_at: '2023-11-14T22:13:20.000Z',
          details: { format: 'safetensors', families: ['quicksilver'] },
        },
      ],
    });
  });
});

describe('a stream that waits', () => {
  it('should have blanks before its first line, over which the client of Ollama reads', async () => {
    const slow = { ...helloScript, beforeFrame: (frame: number) => sleep(frame === 0 ? 300 : 0) };
    const app = createApp(catalogOf(scriptedEngine(slow)));
    const request = { model: 'nano', prompt: 'a', stream: true as const };
    const text = await (await post(app, '/api/generate', request)).text();
    expect(text).toMatch(/^ +\{/);
    expect(text.endsWith('}\n')).toBe(true);
    const warned = vi.spyOn(console, 'warn');
    const client = new Ollama({ fetch: async (url, init) => app.request(String(url), init) });
    const parts = await Array.fromAsync(await client.generate(request));
    expect(parts.map(({ response }) => response).join('')).toBe(helloScript.completion.text);
    expect(warned).not.toHaveBeenCalled();
    warned.mockRestore();
  });
});
