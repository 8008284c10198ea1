import { describe, expect, it } from 'vitest';
import { createApp } from '../../../src/app.ts';
import type { Completion, Usage } from '../../../src/engine/types.ts';
import { llamaVimRequest, llamaVimWarmUp } from '../../support/llama-vim.ts';
import { errorOf, post } from '../../support/requests.ts';
import { catalogOf, helloScript, scriptedEngine, usage } from '../../support/scripted-engine.ts';

const PREFIX = 'def add(a, b):\n    """Adds."""\n';
const SUFFIX = '\n\ndef sub(a, b):\n    return a - b\n';

function setUp(completion: Partial<Completion> = {}, spent: Partial<Usage> = {}) {
  const engine = scriptedEngine({
    frames: [{ text: 'return a', settled: 'return ' }],
    completion: { ...helloScript.completion, text: 'return a + b', ...completion, usage: { ...usage, ...spent } },
  });
  const app = createApp(catalogOf(engine));
  return { engine, ask: (body: object) => post(app, '/infill', body) };
}

const LLAMA_VIM = llamaVimRequest({
  prefix: PREFIX,
  line: '    ',
  suffix: SUFFIX,
  extra: [
    { text: 'import os\n', time: [123, 456], filename: 'old.py' },
    { text: 'export const a = 1;\n', time: [124, 456], filename: 'src/new.ts' },
  ],
  maxPredictMs: 250,
});

/** As src/llama-server.ts of llama.vscode builds it. */
const LLAMA_VSCODE = {
  id_slot: 0,
  input_prefix: PREFIX,
  input_suffix: SUFFIX,
  input_extra: [],
  prompt: '',
  n_predict: 128,
  n_cmpl: 3,
  top_k: 40,
  top_p: 0.99,
  stream: false,
  samplers: ['top_k', 'top_p', 'infill'],
  cache_prompt: true,
  t_max_prompt_ms: 500,
  t_max_predict_ms: 500,
};

describe('POST /infill', () => {
  it('should answer llama.vim with flat fields and no space after the colon', async () => {
    const { ask } = setUp({}, { cpuMs: 30, prefillMs: 10 });
    const response = await ask(LLAMA_VIM);
    expect(response.status).toBe(200);
    const body = await response.text();
    expect(body).toContain('"content":"return a + b"');
    expect(JSON.parse(body)).toEqual({
      content: 'return a + b',
      'timings/prompt_n': 2,
      'timings/prompt_ms': 10,
      'timings/prompt_per_token_ms': 5,
      'timings/prompt_per_second': 200,
      'timings/predicted_n': 4,
      'timings/predicted_ms': 20,
      'timings/predicted_per_token_ms': 5,
      'timings/predicted_per_second': 200,
      truncated: true,
      tokens_cached: 3,
    });
  });

  it('should ask the engine for the middle, with other files under their names before the prefix', async () => {
    const { ask, engine } = setUp();
    await ask(LLAMA_VIM);
    expect(engine.requests).toEqual([
      {
        prefix: `# old.py\nimport os\n\n// src/new.ts\nexport const a = 1;\n\n${PREFIX}    `,
        suffix: SUFFIX,
        maxTokens: 128,
        stop: [],
        temperature: 0,
        topP: 0.9,
        seed: expect.any(Number),
        maxDenoisingMs: 250,
        nearFirst: true,
        ends: expect.any(Function),
      },
    ]);
  });

  it('should give llama.vscode several choices, of which the first is greedy', async () => {
    const { ask, engine } = setUp();
    const body = (await (await ask({ ...LLAMA_VSCODE, seed: 7 })).json()) as object[];
    expect(body).toHaveLength(3);
    for (const [index, choice] of body.entries()) {
      expect(choice).toMatchObject({
        content: 'return a + b',
        index,
        stop: true,
        stop_type: 'eos',
        model: 'nano',
        truncated: true,
        tokens_cached: 3,
        tokens_predicted: 4,
        tokens_evaluated: 5,
        generation_settings: { n_ctx: 1056, n_predict: 128 },
        timings: {
          prompt_n: expect.any(Number),
          prompt_ms: expect.any(Number),
          prompt_per_second: expect.any(Number),
          predicted_n: expect.any(Number),
          predicted_ms: expect.any(Number),
          predicted_per_second: expect.any(Number),
        },
        quicksilver: { confidence: -0.5, truncated_tokens: 2, steps: 2 },
      });
    }
    expect(engine.requests.map(({ temperature, seed }) => [temperature, seed])).toEqual([
      [0, 7],
      [0.6, 8],
      [0.6, 9],
    ]);
    // The time that the editor waits is that of all choices.
    expect(engine.requests.map(({ maxDenoisingMs }) => Math.round(maxDenoisingMs!))).toEqual([167, 167, 167]);
  });

  it('should answer one choice as an object with numbers that can be divided by', async () => {
    const { ask } = setUp({ text: '' }, { completionTokens: 0, cpuMs: 0 });
    const body = await (await ask({ ...LLAMA_VSCODE, n_cmpl: 1 })).json();
    expect(body).toMatchObject({
      content: '',
      timings: { predicted_n: 0, predicted_ms: 0, predicted_per_token_ms: 0, predicted_per_second: 0 },
      quicksilver: { confidence: null },
    });
  });

  it('should read the context and write nothing when no token is asked for', async () => {
    const { ask, engine } = setUp({ text: '', finishReason: 'length' }, { completionTokens: 0 });
    const response = await ask(llamaVimWarmUp(LLAMA_VIM.input_extra));
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({});
    expect(engine.requests).toMatchObject([{ maxTokens: 0, suffix: '' }]);
    expect(engine.requests[0]?.prefix).toContain('export const a = 1;');
  });

  it('should answer a warm-up without fields with empty content', async () => {
    const { ask } = setUp({ text: '', finishReason: 'length' }, { completionTokens: 0 });
    const response = await ask({ input_prefix: '', input_suffix: '', input_extra: [], prompt: '', n_predict: 0 });
    expect(await response.json()).toMatchObject({ content: '', tokens_predicted: 0, stop_type: 'limit' });
  });

  it('should answer what an editor can show, unless told not to', async () => {
    const text = 'return a + b\n\ndef sub(a, b):\n    return';
    const { ask } = setUp({ text });
    const body = { ...LLAMA_VIM, prompt: '    ', response_fields: ['content'] };
    expect(await (await ask(body)).json()).toEqual({ content: 'return a + b' });
    expect(await (await ask({ ...body, editor: false })).json()).toEqual({ content: text });
  });

  it('should show nothing that the model is not sure of', async () => {
    const { ask } = setUp({ confidence: -4 });
    const body = { input_prefix: PREFIX, response_fields: ['content'] };
    expect(await (await ask(body)).json()).toEqual({ content: '' });
    expect(await (await ask({ ...body, min_confidence: 0.01 })).json()).toEqual({ content: 'return a + b' });
  });

  it('should stream events without [DONE], the last with the timings', async () => {
    const { ask } = setUp();
    const response = await ask({ ...LLAMA_VIM, response_fields: [], stream: true, editor: false });
    expect(response.headers.get('content-type')).toMatch(/^text\/event-stream/);
    const events = (await response.text()).trimEnd().split('\n\n');
    expect(events.map((event) => JSON.parse(event.replace(/^data: /, '')))).toMatchObject([
      { content: 'return ', index: 0, stop: false },
      { content: 'a + b', index: 0, stop: false },
      { content: '', stop: true, timings: { predicted_n: 4 } },
    ]);
  });

  it('should write as much as the model can when n_predict is -1', async () => {
    const { ask, engine } = setUp();
    await ask({ input_prefix: 'a', n_predict: -1, t_max_predict_ms: 0, frequency_penalty: 0.5 });
    expect(engine.requests[0]).toMatchObject({ maxTokens: engine.model.maxOutputTokens, frequencyPenalty: 0.5 });
    expect(engine.requests[0]).not.toHaveProperty('maxDenoisingMs');
  });

  it.each([
    { logit_bias: { 97: -100, 98: 2.5 } },
    {
      logit_bias: [
        [97, false],
        [98, 2.5],
      ],
    },
  ])('should hand biases and budgets to the engine: %j', async (fields) => {
    const { ask, engine } = setUp();
    await ask({ input_prefix: 'a', max_steps: 3, deadline_ms: 60_000, ...fields });
    const logitBias = new Map([
      [97, -100],
      [98, 2.5],
    ]);
    expect(engine.requests).toMatchObject([{ logitBias, maxSteps: 3, deadlineMs: expect.closeTo(60_000, -4) }]);
  });

  it('should bias each token of a text, and take what is beyond a ban for one', async () => {
    const { ask, engine } = setUp();
    await ask({
      input_prefix: 'a',
      logit_bias: [
        ['ab', -1000],
        [98, 1],
        ['c', false],
      ],
    });
    await ask({ input_prefix: 'a', logit_bias: { 97: false, bc: 2 } });
    expect(engine.requests.map(({ logitBias }) => logitBias)).toEqual([
      new Map([
        [97, -100],
        [98, -99],
        [99, -100],
      ]),
      new Map([
        [97, -100],
        [98, 2],
        [99, 2],
      ]),
    ]);
  });

  it('should say that a context was cut, and only then', async () => {
    const { ask } = setUp({}, { truncatedTokens: 0 });
    expect(await (await ask({ input_prefix: 'a' })).json()).toMatchObject({ truncated: false });
  });

  it('should answer the prompt as it was read where that field is chosen', async () => {
    const { ask } = setUp();
    const fields = ['content', 'generation_settings/n_predict', 'prompt'];
    const body = await (await ask({ input_prefix: 'a', prompt: 'b', n_predict: 8, response_fields: fields })).json();
    expect(body).toEqual({ content: 'return a + b', 'generation_settings/n_predict': 8, prompt: 'ab' });
    expect(await (await ask({ input_prefix: 'a' })).json()).not.toHaveProperty('prompt');
  });

  it('should not find inherited names among the fields', async () => {
    const { ask } = setUp();
    const response = await ask({ input_prefix: 'a', response_fields: ['constructor', 'timings/toString', 'index'] });
    expect(await response.json()).toEqual({ index: 0 });
  });

  it.each([
    ['grammar', { grammar: 'root ::= "a"' }],
    ['json_schema', { json_schema: { type: 'object' } }],
    ['n_probs', { n_probs: 3 }],
    ['ignore_eos', { ignore_eos: true }],
    ['logit_bias', { logit_bias: [['hello']] }],
    ['logit_bias.7', { logit_bias: [[7, 1]] }],
    ['deadline_ms', { deadline_ms: 0 }],
    ['lora', { lora: [{ id: 0, scale: 0.5 }] }],
    ['prompt', { prompt: [1, 2] }],
    ['n_predict', { n_predict: 1.5 }],
    ['n_cmpl', { n_cmpl: 0 }],
    ['input_extra.0.text', { input_extra: [{ filename: 'a' }] }],
    ['model', { model: 'other' }],
  ])('should refuse %s by name for %j', async (param, fields) => {
    const { ask, engine } = setUp();
    const error = await errorOf(await ask({ input_prefix: 'a', ...fields }));
    expect(error).toMatchObject({ status: param === 'model' ? 404 : 400, param });
    expect(engine.requests).toEqual([]);
  });
});
