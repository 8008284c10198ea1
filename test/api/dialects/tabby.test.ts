import { describe, expect, it } from 'vitest';
import { createApp } from '../../../src/app.ts';
import { errorOf, post } from '../../support/requests.ts';
import { catalogOf, helloScript, scriptedEngine } from '../../support/scripted-engine.ts';

const TEXT = 'return json.load(file)\n\ndef main():\n    pass';

function setUp() {
  const engine = scriptedEngine({ frames: [], completion: { ...helloScript.completion, text: TEXT } });
  const app = createApp(catalogOf(engine));
  return { app, engine, ask: (body: object) => post(app, '/v1/completions', body) };
}

const snippet = (filepath: string, body: string) => ({ filepath, body, score: 1 });

/** As clients/tabby-agent/src/codeCompletion/buildRequest.ts builds it. */
const REQUEST = {
  language: 'python',
  segments: {
    prefix: 'def read(path):\n    with open(path) as file:\n        ',
    suffix: '\n\nread("a")\n',
    filepath: 'src/read.py',
    git_url: 'https://example.com/a.git',
    declarations: [{ filepath: 'json.pyi', body: 'def load(fp): ...' }],
    relevant_snippets_from_changed_files: [snippet('best.py', 'a = 1'), snippet('good.py', 'b = 2')],
    relevant_snippets_from_recently_opened_files: [snippet('seen.py', 'c = 3')],
    clipboard: 'copied',
  },
  temperature: undefined,
  user: 'someone',
  mode: 'standard',
};

describe("Tabby's POST /v1/completions", () => {
  it('should be recognized by its segments and answered in its format', async () => {
    const { ask } = setUp();
    const response = await ask(REQUEST);
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({
      id: expect.stringMatching(/^cmpl-/),
      choices: [{ index: 0, text: 'return json.load(file)', confidence: -0.5 }],
    });
  });

  it('should put what is most relevant nearest to the file', async () => {
    const { ask, engine } = setUp();
    await ask(REQUEST);
    expect(engine.requests).toMatchObject([
      {
        prefix: [
          '# json.pyi\n',
          'def load(fp): ...\n\n# seen.py\nc = 3\n\n# good.py\nb = 2\n\n# best.py\na = 1\n\n# src/read.py\n',
          REQUEST.segments.prefix,
        ].join(''),
        suffix: REQUEST.segments.suffix,
        temperature: 0,
        maxTokens: 64,
      },
    ]);
  });

  it('should accept a prefix alone, and treat null as absent', async () => {
    const { ask, engine } = setUp();
    const response = await ask({
      language: null,
      segments: { prefix: 'a', suffix: null, filepath: null, declarations: null, clipboard: null },
      seed: 5,
      temperature: 0.4,
    });
    expect(response.status).toBe(200);
    expect(engine.requests).toMatchObject([{ prefix: 'a', suffix: '', seed: 5, temperature: 0.4 }]);
  });

  it.each([
    ['segments.prefix', { segments: {} }],
    ['mode', { segments: { prefix: 'a' }, mode: 'next_edit_suggestion' }],
    ['debug_options', { segments: { prefix: 'a' }, debug_options: { raw_prompt: 'b' } }],
    ['segments.declarations.0.body', { segments: { prefix: 'a', declarations: [{ filepath: 'b' }] } }],
  ])('should refuse %s by name for %j', async (param, body) => {
    const { ask, engine } = setUp();
    expect(await errorOf(await ask(body))).toMatchObject({ status: 400, param });
    expect(engine.requests).toEqual([]);
  });
});

describe('what else its clients ask for', () => {
  it.each(['GET', 'POST'])('should answer %s /v1/health with a model', async (method) => {
    const response = await setUp().app.request('/v1/health', { method });
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({
      model: 'nano',
      chat_model: null,
      device: expect.any(String),
      arch: expect.any(String),
      cpu_info: expect.any(String),
      cpu_count: expect.any(Number),
      cuda_devices: [],
      version: { build_date: expect.any(String), build_timestamp: '', git_sha: '', git_describe: '' },
    });
  });

  it('should ask clients not to report to others', async () => {
    const response = await setUp().app.request('/v1beta/server_setting');
    expect(await response.json()).toEqual({ disable_client_side_telemetry: true });
  });

  it.each(['view', 'select', 'dismiss'])('should take the event %s', async (type) => {
    const event = { type, completion_id: 'cmpl-1', choice_index: 0, view_id: 'view-1', elapsed: 1234 };
    const response = await post(setUp().app, '/v1/events?select_kind=line', event);
    expect(response.status).toBe(204);
    expect(await response.text()).toBe('');
  });

  it('should refuse what is no event', async () => {
    expect(await errorOf(await post(setUp().app, '/v1/events', { type: 'view' }))).toMatchObject({
      status: 400,
      param: 'completion_id',
    });
  });
});

describe("DeepSeek's POST /beta/completions", () => {
  it('should be that of OpenAI', async () => {
    const { app, engine } = setUp();
    const response = await post(app, '/beta/completions', {
      model: 'nano',
      prompt: 'def fib(a):',
      suffix: '    return fib(a-1)',
      max_tokens: 128,
      echo: false,
      logprobs: null,
    });
    expect(await response.json()).toMatchObject({ object: 'text_completion', choices: [{ text: TEXT, index: 0 }] });
    expect(engine.requests).toMatchObject([{ prefix: 'def fib(a):', suffix: '    return fib(a-1)', maxTokens: 128 }]);
  });
});
