import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { createApp } from '../../../src/app.ts';
import { kernelModule } from '../../assembly/builds.ts';
import { sampleEngine } from '../../engine/sample-engine.ts';
import { errorOf, post } from '../../support/requests.ts';
import { catalogOf, helloScript, scriptedEngine } from '../../support/scripted-engine.ts';

const PATH = '/v1/completions';

function setUp(script = helloScript) {
  const engine = scriptedEngine(script);
  return { engine, app: createApp(catalogOf(engine)) };
}

describe('POST /v1/completions', () => {
  it('should answer in the shape of OpenAI', async () => {
    const { app } = setUp();
    const response = await post(app, PATH, { model: 'nano', prompt: 'say ' });
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toContain('application/json');
    expect(await response.json()).toEqual({
      id: expect.stringMatching(/^cmpl-/),
      object: 'text_completion',
      created: expect.any(Number),
      model: 'nano',
      choices: [{ text: 'hello world!', index: 0, logprobs: null, finish_reason: 'stop' }],
      usage: {
        prompt_tokens: 5,
        completion_tokens: 4,
        total_tokens: 9,
        cached_input_tokens: 3,
        reasoning_tokens: 0,
        prompt_tokens_details: { cached_tokens: 3 },
        quicksilver: { truncated_tokens: 2, steps: 2, slot_evaluations: 64, cpu_ms: 1, queue_ms: 0, confidence: -0.5 },
      },
    });
  });

  it('should add up over its choices how long they waited for their turn', async () => {
    const completion = { ...helloScript.completion, usage: { ...helloScript.completion.usage, queueMs: 3 } };
    const { app } = setUp({ ...helloScript, completion });
    const response = await post(app, PATH, { model: 'nano', prompt: 'say ', n: 2 });
    expect(await response.json()).toMatchObject({ usage: { quicksilver: { queue_ms: 6 } } });
  });

  it('should decode greedily to at most 64 tokens when nothing else is asked', async () => {
    const { app, engine } = setUp();
    await post(app, PATH, { model: 'nano', prompt: 'say ' });
    expect(engine.requests).toEqual([
      {
        prefix: 'say ',
        suffix: '',
        maxTokens: 64,
        stop: [],
        temperature: 0,
        topP: 1,
        seed: expect.any(Number),
      },
    ]);
  });

  it('should decode from left to right when asked to', async () => {
    const { app, engine } = setUp();
    await post(app, PATH, { model: 'nano', prompt: 'a', decoding: 'autoregressive' });
    expect(engine.requests).toMatchObject([{ prefix: 'a', suffix: '', decoding: 'autoregressive' }]);
  });

  it('should hand every decoding parameter to the engine', async () => {
    const { app, engine } = setUp();
    const response = await post(app, PATH, {
      model: 'nano',
      prompt: 'a',
      suffix: 'b',
      max_tokens: 7,
      stop: '\n',
      temperature: 0.7,
      top_p: 0.9,
      presence_penalty: 1.5,
      frequency_penalty: -0.5,
      seed: 42,
      logit_bias: { 97: -100, 0: 1.5, 98: 0 },
      max_steps: 3,
      deadline_ms: 60_000,
      reveal_threshold: 0.8,
      edit_threshold: 1,
      canvas_width: 16,
      freeze_after: 2,
      reuse: true,
      decoding: 'diffusion',
      user: 'someone',
    });
    expect(response.status).toBe(200);
    expect(engine.requests).toEqual([
      {
        prefix: 'a',
        suffix: 'b',
        maxTokens: 7,
        stop: ['\n'],
        temperature: 0.7,
        topP: 0.9,
        presencePenalty: 1.5,
        frequencyPenalty: -0.5,
        seed: 42,
        logitBias: new Map([
          [97, -100],
          [0, 1.5],
        ]),
        maxSteps: 3,
        deadlineMs: expect.closeTo(60_000, -4),
        revealThreshold: 0.8,
        editThreshold: 1,
        canvasWidth: 16,
        freezeAfter: 2,
        reuse: true,
      },
    ]);
  });

  it('should take null for absent', async () => {
    const { app, engine } = setUp();
    const response = await post(app, PATH, {
      model: 'nano',
      prompt: 'a',
      suffix: null,
      stop: null,
      max_tokens: null,
      logprobs: null,
      seed: null,
    });
    expect(response.status).toBe(200);
    expect(engine.requests[0]).toMatchObject({ suffix: '', stop: [], maxTokens: 64 });
  });

  it('should bound max_tokens by what the model can write', async () => {
    const { app, engine } = setUp();
    await post(app, PATH, { model: 'nano', prompt: 'a', max_tokens: 100_000 });
    expect(engine.requests[0]?.maxTokens).toBe(engine.model.maxOutputTokens);
  });

  it('should give n choices with seeds that follow each other, and count the prompt once', async () => {
    const { app, engine } = setUp();
    const response = await post(app, PATH, { model: 'nano', prompt: 'a', n: 3, seed: 10, temperature: 1 });
    const body = (await response.json()) as { choices: { index: number }[]; usage: object };
    expect(engine.requests.map(({ seed }) => seed)).toEqual([10, 11, 12]);
    expect(body.choices.map(({ index }) => index)).toEqual([0, 1, 2]);
    expect(body.usage).toMatchObject({ prompt_tokens: 5, completion_tokens: 12, total_tokens: 17 });
  });

  it('should complete each prompt of an array, choices of a prompt side by side', async () => {
    const { app, engine } = setUp();
    const response = await post(app, PATH, { model: 'nano', prompt: ['a', 'b'], n: 2, seed: 1 });
    const body = (await response.json()) as { choices: { index: number }[]; usage: object };
    expect(engine.requests.map(({ prefix, seed }) => [prefix, seed])).toEqual([
      ['a', 1],
      ['a', 2],
      ['b', 1],
      ['b', 2],
    ]);
    expect(body.choices.map(({ index }) => index)).toEqual([0, 1, 2, 3]);
    expect(body.usage).toMatchObject({ prompt_tokens: 10, completion_tokens: 16 });
  });

  it('should answer the most confident choices of best_of, and count all of them', async () => {
    const { engine, app } = setUp();
    const confidences = [-0.5, -0.1, -0.9, -0.2];
    const generate = engine.generate;
    engine.generate = async function* (request, signal) {
      const completion = yield* generate(request, signal);
      const text = String(engine.requests.length);
      return { ...completion, text, confidence: confidences[engine.requests.length - 1]! };
    };
    const response = await post(app, PATH, { model: 'nano', prompt: 'a', n: 2, best_of: 4, editor: true });
    expect(await response.json()).toMatchObject({
      choices: [
        { index: 0, text: '2' },
        { index: 1, text: '4' },
      ],
      usage: { prompt_tokens: 5, completion_tokens: 16 },
    });
  });

  it.each([0, 1])('should report the confidence of each token when logprobs is %i', async (logprobs) => {
    const tokens = [
      { text: 'hello ', logProbability: -0.25 },
      { text: 'world!', logProbability: -0.75 },
    ];
    const { app } = setUp({ ...helloScript, completion: { ...helloScript.completion, tokens } });
    const whole = await post(app, PATH, { model: 'nano', prompt: 'say ', logprobs });
    expect(await whole.json()).toMatchObject({
      choices: [
        {
          logprobs: {
            tokens: ['hello ', 'world!'],
            token_logprobs: [-0.25, -0.75],
            top_logprobs: [{ 'hello ': -0.25 }, { 'world!': -0.75 }],
            text_offset: [0, 6],
          },
        },
      ],
    });
    const shown = await post(app, PATH, { model: 'nano', prompt: 'say ', suffix: 'ld!', logprobs, editor: true });
    expect(await shown.json()).toMatchObject({ choices: [{ logprobs: { tokens: ['hello ', 'wor'] } }] });
    const cut = await post(app, PATH, { model: 'nano', prompt: 'say ', suffix: ' world!', logprobs, editor: true });
    expect(await cut.json()).toMatchObject({ choices: [{ text: 'hello', logprobs: { tokens: ['hello'] } }] });
  });

  it('should ask for the most probable tokens of each place and report them by their names', async () => {
    const tokens = [
      {
        text: 'hello ',
        logProbability: -0.25,
        alternatives: [
          { name: 'hello ', logProbability: -0.25 },
          { name: 'bytes:\\xe2\\x9c', logProbability: -2 },
        ],
      },
      // Cut by a stop string, and drawn though two others are more probable.
      {
        text: 'wor',
        logProbability: -3,
        alternatives: [
          { name: 'all', logProbability: -1 },
          { name: '<|eom|>', logProbability: -2 },
          { name: 'world', logProbability: -3 },
        ],
      },
    ];
    const { app, engine } = setUp({ ...helloScript, completion: { ...helloScript.completion, tokens } });
    const response = await post(app, PATH, { model: 'nano', prompt: 'say ', logprobs: 2, temperature: 1 });
    expect(engine.requests).toMatchObject([{ alternatives: 2 }]);
    expect(await response.json()).toMatchObject({
      choices: [
        {
          logprobs: {
            tokens: ['hello ', 'wor'],
            token_logprobs: [-0.25, -3],
            top_logprobs: [
              { 'hello ': -0.25, 'bytes:\\xe2\\x9c': -2 },
              { all: -1, '<|eom|>': -2, world: -3 },
            ],
            text_offset: [0, 6],
          },
        },
      ],
    });
  });

  it.each([
    [[104, 105], ['hi'], [[104, 105]]],
    [
      [[104, 105], [111]],
      ['hi', 'o'],
      [[104, 105], [111]],
    ],
  ])('should read the token ids %j as they are', async (prompt, prefixes, prefixTokens) => {
    const { app, engine } = setUp();
    const response = await post(app, PATH, { model: 'nano', prompt, echo: true, suffix: 'end' });
    const { choices } = (await response.json()) as { choices: { text: string }[] };
    expect(choices.map(({ text }) => text)).toEqual(prefixes.map((text) => `${text}hello world!`));
    expect(engine.requests).toMatchObject(
      prefixes.map((prefix, at) => ({ prefix, prefixTokens: prefixTokens[at], suffix: 'end' })),
    );
  });

  it('should share a deadline among the choices', async () => {
    const { app, engine } = setUp({ ...helloScript, beforeFrame: () => sleep(10) });
    await post(app, PATH, { model: 'nano', prompt: ['a', 'b'], n: 2, temperature: 1, deadline_ms: 4000 });
    const deadlines = engine.requests.map(({ deadlineMs }) => deadlineMs!);
    expect(deadlines).toHaveLength(4);
    // The first has a quarter; the last has all that is left, which is what the others left over.
    expect(deadlines[0]).toBeLessThanOrEqual(1000);
    expect(deadlines[3]).toBeGreaterThan(1000);
    expect(deadlines[3]).toBeLessThan(4000 - 3 * 2 * 9);
  });

  it('should answer the request of Continue with the Inception provider', async () => {
    const { app, engine } = setUp();
    const response = await post(app, PATH, {
      model: 'nano',
      prompt: 'def f():',
      // What it sends for a blank suffix.
      suffix: '<|endoftext|>',
      max_tokens: 150,
      temperature: 0,
      presence_penalty: 1.5,
      stop: ['<|endoftext|>', '\n\n', '\n \n'],
      stream: true,
    });
    expect(response.status).toBe(200);
    await response.text();
    expect(engine.requests).toMatchObject([{ prefix: 'def f():', suffix: '', presencePenalty: 1.5 }]);
  });

  it('should put the prompt before the text when asked to echo', async () => {
    const { app } = setUp();
    const response = await post(app, PATH, { model: 'nano', prompt: 'say ', echo: true });
    expect(await response.json()).toMatchObject({ choices: [{ text: 'say hello world!' }] });
  });

  it('should say length when the bound was met', async () => {
    const { app } = setUp({ ...helloScript, completion: { ...helloScript.completion, finishReason: 'length' } });
    const response = await post(app, PATH, { model: 'nano', prompt: 'say ' });
    expect(await response.json()).toMatchObject({ choices: [{ finish_reason: 'length' }] });
  });

  it('should complete an empty prompt that has a suffix', async () => {
    const { app, engine } = setUp();
    const response = await post(app, PATH, { model: 'nano', prompt: '', suffix: 'end' });
    expect(response.status).toBe(200);
    expect(engine.requests[0]).toMatchObject({ prefix: '', suffix: 'end' });
  });

  it('should accept parameters that ask for nothing', async () => {
    const { app } = setUp();
    const response = await post(app, PATH, {
      model: 'nano',
      prompt: 'a',
      best_of: 1,
      logit_bias: {},
      presence_penalty: 0,
      frequency_penalty: 0,
      repetition_penalty: 1,
      top_k: -1,
      min_tokens: 0,
    });
    expect(response.status).toBe(200);
  });

  it.each([
    ['repetition_penalty', 1.2],
    ['top_k', 40],
    ['min_tokens', 1],
  ])('should refuse %s: %j by name rather than ignore it', async (param, value) => {
    const { app, engine } = setUp();
    const response = await post(app, PATH, { model: 'nano', prompt: 'a', [param]: value });
    expect(await errorOf(response)).toMatchObject({
      status: 400,
      type: 'invalid_request_error',
      param,
      code: 'unsupported_parameter',
    });
    expect(engine.requests).toEqual([]);
  });

  it.each([
    ['prompt', { prompt: 5 }],
    ['prompt', { prompt: [] }],
    ['suffix', { suffix: 1 }],
    ['max_tokens', { max_tokens: -1 }],
    ['max_tokens', { max_tokens: 1.5 }],
    ['max_tokens', { max_tokens: '16' }],
    ['temperature', { temperature: -1 }],
    ['temperature', { temperature: 2.5 }],
    ['top_p', { top_p: -0.1 }],
    ['n', { n: 129 }],
    ['n', { n: 128, prompt: Array(17).fill('a') }],
    ['seed', { seed: 0.5 }],
    ['stop', { stop: Array(33).fill('x') }],
    ['presence_penalty', { presence_penalty: 2.1 }],
    ['frequency_penalty', { frequency_penalty: '1' }],
    ['stream', { stream: 'yes' }],
    ['stream_options.include_usage', { stream_options: { include_usage: 1 } }],
    ['stream_options', { stream_options: { include_usage: true } }],
    ['stream_options', { stream_options: {}, stream: false }],
    ['diffusing', { diffusing: true }],
    ['max_steps', { max_steps: 0 }],
    ['diffusing', { diffusing: 'canvas' }],
    ['diffusing', { diffusing: 'text', stream: true }],
    ['decoding', { decoding: 'beam' }],
    ['freeze_after', { freeze_after: 0 }],
    ['reveal_threshold', { reveal_threshold: 0 }],
    ['edit_threshold', { edit_threshold: 1.1 }],
    ['echo', { echo: 1 }],
    ['best_of', { best_of: 1, n: 2 }],
    ['best_of', { best_of: 2, stream: true }],
    ['best_of', { best_of: 21 }],
    ['n', { best_of: 20, prompt: Array(103).fill('a') }],
    ['logprobs', { logprobs: -1 }],
    ['logprobs', { logprobs: true }],
    ['logprobs', { logprobs: 0, stream: true }],
    ['logprobs', { logprobs: 0, echo: true }],
    ['logprobs', { logprobs: 21 }],
    ['logit_bias.97', { logit_bias: { 97: -101 } }],
    ['logit_bias.97', { logit_bias: { 97: '1' } }],
    ['logit_bias.a', { logit_bias: { a: 1 } }],
    ['logit_bias.1', { logit_bias: { 1: 1 } }],
    ['logit_bias', { logit_bias: Object.fromEntries(Array.from({ length: 301 }, (_, id) => [id, 1])) }],
    ['logit_bias', { logit_bias: [[97, 1]] }],
    ['deadline_ms', { deadline_ms: 0 }],
    ['deadline_ms', { deadline_ms: '100' }],
    ['prompt.1', { prompt: [104, 7] }],
    ['prompt.0.1', { prompt: [[104, 7]] }],
    ['prompt.0', { prompt: [[]] }],
    ['prompt', { prompt: [104, 'a'] }],
    ['prompt.0', { prompt: [-1] }],
    ['prompt', { prompt: [1.5] }],
  ])('should answer 400 naming %s for %j', async (param, fields) => {
    const { app, engine } = setUp();
    const response = await post(app, PATH, { model: 'nano', prompt: 'a', ...fields });
    expect(await errorOf(response)).toMatchObject({ status: 400, type: 'invalid_request_error', param });
    expect(engine.requests).toEqual([]);
  });

  it('should answer 404 for a model that is not served', async () => {
    const { app } = setUp();
    expect(await errorOf(await post(app, PATH, { model: 'gpt-4', prompt: 'a' }))).toMatchObject({
      status: 404,
      param: 'model',
      code: 'model_not_found',
    });
  });
});

describe('what the model cannot do', () => {
  const kernels = { relaxed: kernelModule('relaxed'), simd: kernelModule('simd') };

  it.each([
    ['canvas_width', { canvas_width: 11 }],
    ['canvas_width', { canvas_width: 11, stream: true }],
    ['suffix', { decoding: 'autoregressive', suffix: 'b' }],
    ['suffix', { decoding: 'autoregressive', prompt: '<fim_prefix>a<fim_suffix>b<fim_middle>' }],
    ['reveal_threshold', { decoding: 'autoregressive', reveal_threshold: 0.5 }],
    ['edit_threshold', { decoding: 'autoregressive', edit_threshold: 0.5 }],
    ['canvas_width', { decoding: 'autoregressive', canvas_width: 12 }],
    ['freeze_after', { decoding: 'autoregressive', freeze_after: 1, stream: true }],
  ])('should be refused naming %s for %j', async (param, fields) => {
    const app = createApp(catalogOf(await sampleEngine(kernels)));
    const response = await post(app, PATH, { prompt: 'a', max_tokens: 2, ...fields });
    expect(await errorOf(response)).toMatchObject({ status: 400, param, code: 'unsupported_by_model' });
    expect((await post(app, PATH, { prompt: 'a', max_tokens: 2 })).status).toBe(200);
  });
});
