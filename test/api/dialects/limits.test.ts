/**
 * What each dialect's own description allows is taken, to its bounds. The descriptions: OpenAI's openapi.yaml
 * (CreateCompletionRequest), the request types of Mistral's clients (FIMCompletionRequest), Ollama's api/types.go,
 * llama.cpp's tools/server/README.md, Tabby's openapi.json and DeepSeek's page of its FIM.
 */
import { describe, expect, it } from 'vitest';
import { createApp } from '../../../src/app.ts';
import type { GenerateRequest } from '../../../src/engine/types.ts';
import { post } from '../../support/requests.ts';
import { catalogOf, helloScript, scriptedEngine } from '../../support/scripted-engine.ts';

function setUp() {
  const engine = scriptedEngine(helloScript);
  const app = createApp(catalogOf(engine));
  return { engine, ask: (path: string, body: object) => post(app, path, body) };
}

type Case = [fields: object, asked?: Partial<GenerateRequest>];

/** The largest of 64 bits, as JSON gives it. */
const INT64 = 2 ** 63;
const nulls = (...names: string[]) => Object.fromEntries(names.map((name) => [name, null]));

const OPENAI: readonly Case[] = [
  [{}, { prefix: '', suffix: '' }],
  [{ model: undefined }, {}],
  [{ model: null }, {}],
  [{ model: '' }, {}],
  [{ prompt: '' }, { prefix: '' }],
  [{ prompt: null }, { prefix: '' }],
  [{ prompt: ['', 'a'] }, { prefix: '' }],
  [{ prompt: Array(20).fill('a') }, { prefix: 'a' }],
  [{ prompt: [104] }, { prefixTokens: [104] }],
  [{ best_of: 0 }],
  [{ best_of: 20 }],
  [{ n: 1 }],
  [{ n: 128 }],
  [
    { frequency_penalty: -2, presence_penalty: 2 },
    { frequencyPenalty: -2, presencePenalty: 2 },
  ],
  [
    { frequency_penalty: 2, presence_penalty: -2 },
    { frequencyPenalty: 2, presencePenalty: -2 },
  ],
  [{ logprobs: 0 }],
  [{ logprobs: 5 }, { alternatives: 5 }],
  [{ logit_bias: { 97: -100, 98: 100 } }],
  [{ max_tokens: 0 }, { maxTokens: 0 }],
  [{ max_tokens: 0, echo: true, prompt: 'a' }, { maxTokens: 0 }],
  [{ max_tokens: INT64 }, { maxTokens: 256 }],
  [{ seed: -INT64 }],
  [{ seed: INT64 }],
  [{ seed: 7 }, { seed: 7 }],
  [{ stop: ['a', 'b', 'c', 'd'] }, { stop: ['a', 'b', 'c', 'd'] }],
  [{ stop: 'x'.repeat(1000) }],
  [{ stop: '' }, { stop: [] }],
  [{ stop: ['', 'x'] }, { stop: ['x'] }],
  [{ temperature: 0 }, { temperature: 0 }],
  [{ temperature: 2 }, { temperature: 2 }],
  [{ top_p: 0 }, { topP: Number.EPSILON }],
  [{ top_p: 1 }, { topP: 1 }],
  [{ user: 'someone', stream: true, stream_options: { include_usage: null, include_obfuscation: false } }],
  [
    nulls(
      'best_of',
      'echo',
      'frequency_penalty',
      'logit_bias',
      'logprobs',
      'max_tokens',
      'n',
      'presence_penalty',
      'seed',
    ),
  ],
  [nulls('stop', 'stream', 'stream_options', 'suffix', 'temperature', 'top_p', 'user')],
];

const DEEPSEEK: readonly Case[] = [
  [{ prompt: 'a', logprobs: 20 }, { alternatives: 20 }],
  [{ prompt: 'a', stop: Array(16).fill('x') }],
  [{ prompt: 'a', echo: false, suffix: 'b', max_tokens: 4096, frequency_penalty: 2, temperature: 2, top_p: 1 }],
];

const MISTRAL: readonly Case[] = [
  [{ prompt: 'a', ...nulls('model', 'temperature', 'max_tokens', 'random_seed', 'suffix', 'min_tokens', 'metadata') }],
  [{ prompt: '' }, { prefix: '' }],
  [{ prompt: 'a', temperature: 1.5, top_p: 0 }, { temperature: 1.5 }],
  [{ prompt: 'a', max_tokens: 0, min_tokens: 0 }, { maxTokens: 0 }],
  [{ prompt: 'a', random_seed: 0 }, { seed: 0 }],
  [{ prompt: 'a', stop: '' }, { stop: [] }],
  [{ prompt: 'a', stop: ['', 'x'] }, { stop: ['x'] }],
  [{ prompt: 'a', stop: Array(100).fill('x') }],
  [{ prompt: 'a', metadata: { a: null, b: [1] } }],
];

const OLLAMA: readonly Case[] = [
  [{ options: { temperature: 6, top_p: 1.5 } }, { temperature: 6, topP: 1 }],
  [{ options: { temperature: -1, top_p: -1 } }, { temperature: 0, topP: Number.EPSILON }],
  [{ options: { presence_penalty: 3, frequency_penalty: -3 } }, { presencePenalty: 3, frequencyPenalty: -3 }],
  [{ options: { presence_penalty: 1e9 } }, { presencePenalty: 100 }],
  [{ options: { num_predict: 0 } }, { maxTokens: 0 }],
  [{ options: { num_predict: -1 } }, { maxTokens: 256 }],
  [{ options: { num_predict: -2 } }, { maxTokens: 256 }],
  [{ options: { num_predict: null, stop: null, seed: null } }, { maxTokens: 64 }],
  [{ options: null }],
  [{ options: { seed: -1 } }],
  [{ options: { stop: ['', 'x'] } }, { stop: ['x'] }],
  [{ options: { top_k: 40, min_p: 0.05, repeat_penalty: 1.1, num_ctx: 4096, mirostat: 0 } }],
  [{ truncate: true, shift: true, raw: true, keep_alive: '5m' }],
  [nulls('suffix', 'system', 'template', 'context', 'stream', 'raw', 'format', 'keep_alive', 'images', 'think')],
];

const LLAMA: readonly Case[] = [
  [
    { temperature: 5, top_p: 2 },
    { temperature: 5, topP: 1 },
  ],
  [{ temperature: -1, top_p: 0 }, { temperature: 0 }],
  [
    { presence_penalty: 5, frequency_penalty: -5 },
    { presencePenalty: 5, frequencyPenalty: -5 },
  ],
  [{ n_predict: 0 }, { maxTokens: 0 }],
  [{ n_predict: -1 }, { maxTokens: 256 }],
  [{ n_predict: -2 }, { maxTokens: 256 }],
  [{ n: 2 }],
  [{ n_cmpl: 9 }],
  [{ seed: 4294967295 }, { seed: 4294967295 }],
  [{ stop: [''] }, { stop: [] }],
  [{ t_max_predict_ms: -1 }],
  [{ top_k: 0, min_p: 0.1, typical_p: 1, repeat_penalty: 1.2, dry_multiplier: 1, mirostat: 2, samplers: ['top_k'] }],
  [
    nulls(
      'n_predict',
      'temperature',
      'stop',
      'seed',
      'logit_bias',
      'grammar',
      'json_schema',
      'lora',
      'response_fields',
    ),
  ],
];

const INFILL: readonly Case[] = [
  [{}, { prefix: '', suffix: '' }],
  [{ input_extra: [{ text: 'x', filename: null }] }],
  ...LLAMA,
];

const TABBY: readonly Case[] = [
  [{ segments: { prefix: '' } }, { prefix: '' }],
  [{ segments: { prefix: 'a', suffix: null, filepath: null, git_url: null, declarations: null, edit_history: null } }],
  [{ segments: { prefix: 'a', declarations: [{ filepath: null, body: 'b' }] } }],
  [{ segments: { prefix: 'a' }, temperature: 3, seed: 2 ** 64 }, { temperature: 3 }],
  [{ segments: { prefix: 'a' }, ...nulls('language', 'user', 'temperature', 'seed', 'mode', 'debug_options') }],
  [{ segments: { prefix: 'a' }, debug_options: { raw_prompt: null, return_snippets: false } }],
];

const DIALECTS: readonly [path: string, base: object, cases: readonly Case[]][] = [
  ['/v1/completions', { model: 'nano' }, OPENAI],
  ['/beta/completions', { model: 'nano' }, DEEPSEEK],
  ['/v1/fim/completions', { model: 'nano' }, MISTRAL],
  ['/api/generate', { model: 'nano', prompt: 'a' }, OLLAMA],
  ['/infill', {}, INFILL],
  ['/completion', {}, LLAMA],
  ['/v1/completions', {}, TABBY],
];

describe.each(DIALECTS)('%s of %j', (path, base, cases) => {
  it.each(cases)('should take %j', async (fields, asked = {}) => {
    const { ask, engine } = setUp();
    const response = await ask(path, { ...base, ...fields });
    expect({ status: response.status, text: await response.text() }).toMatchObject({ status: 200 });
    expect(engine.requests[0]).toMatchObject(asked);
  });
});

/** A request of each dialect that bounds nothing yet. */
const BODIES: readonly [path: string, body: object][] = [
  ['/v1/completions', { prompt: 'a' }],
  ['/beta/completions', { prompt: 'a' }],
  ['/v1/fim/completions', { prompt: 'a' }],
  ['/infill', { input_prefix: 'a' }],
  ['/completion', { prompt: 'a' }],
  ['/api/generate', { model: 'nano', prompt: 'a' }],
  ['/v1/completions', { segments: { prefix: 'a' } }],
];

describe.each(BODIES)('a bound of the work in %s of %j', (path, body) => {
  it.each([
    'max_tokens',
    'max_completion_tokens',
    'max_output_tokens',
    'max_new_tokens',
    'max_tokens_to_sample',
    'max_length',
    'n_predict',
    'num_predict',
  ])('should apply under the name %s, even with larger ones next to it', async (name) => {
    const { ask, engine } = setUp();
    await ask(path, { ...body, [name]: 4 });
    await ask(path, { ...body, n_predict: -1, max_tokens: 100, [name]: 4 });
    expect(engine.requests.map(({ maxTokens }) => maxTokens)).toEqual([4, 4]);
  });

  it('should be one of time as well', async () => {
    const { ask, engine } = setUp();
    await ask(path, { ...body, t_max_predict_ms: 50, max_steps: 3, deadline_ms: 60_000 });
    expect(engine.requests).toMatchObject([
      { maxDenoisingMs: 50, maxSteps: 3, deadlineMs: expect.closeTo(60_000, -4) },
    ]);
  });
});

describe("Ollama's options", () => {
  it.each(['max_tokens', 'n_predict'])('should take %s as well, and the smallest of all', async (name) => {
    const { ask, engine } = setUp();
    await ask('/api/generate', { model: 'nano', prompt: 'a', num_predict: 9, options: { [name]: 4, num_predict: 7 } });
    expect(engine.requests).toMatchObject([{ maxTokens: 4 }]);
  });
});

const REFUSED: readonly [name: string, value: unknown][] = [
  ['response_format', { type: 'json_object' }],
  ['response_format', { type: 'json_schema' }],
  ['structured_outputs', { json: {} }],
  ['guided_json', { type: 'object' }],
  ['guided_regex', 'a+'],
  ['guided_choice', ['a']],
  ['guided_grammar', 'root ::= "a"'],
  ['grammar', 'root ::= "a"'],
  ['json_schema', { type: 'object' }],
  ['format', 'json'],
  ['prompt_logprobs', 0],
  ['prompt_logprobs', 1],
  ['prompt_logprobs', -1],
  ['min_tokens', 1],
  ['min_new_tokens', 1],
  ['min_length', 1],
  ['ignore_eos', true],
  ['stop_sequences', ['a']],
  ['stop_sequence', 'a'],
  ['stopping_strings', ['a']],
  ['stop_regex', 'a+'],
  ['max_time', 1],
  ['stop_token_ids', [1]],
  ['bad_words', ['a']],
  ['allowed_token_ids', [1]],
  ['use_beam_search', true],
  ['truncate_prompt_tokens', 5],
  ['return_token_ids', true],
  ['include_stop_str_in_output', true],
  ['lora', [{ id: 0, scale: 1 }]],
  ['messages', [{ role: 'user', content: 'a' }]],
  ['tools', [{}]],
  ['images', ['aGk=']],
];

describe.each(BODIES)('what cannot be honoured in %s of %j', (path, body) => {
  it.each(REFUSED)('should be refused by name: %s as %j', async (name, value) => {
    const { ask, engine } = setUp();
    const response = await ask(path, { ...body, [name]: value });
    const text = await response.text();
    expect({ status: response.status, text }).toMatchObject({ status: 400 });
    const { error } = JSON.parse(text) as { error: string | object };
    if (typeof error === 'string') expect(error).toMatch(new RegExp(`^${name}: `));
    else expect(error).toMatchObject({ param: name, code: 'unsupported_parameter' });
    expect(engine.requests).toEqual([]);
  });

  it('should be taken where it asks for nothing', async () => {
    const { ask } = setUp();
    const asksForNothing = {
      response_format: { type: 'text' },
      grammar: '',
      json_schema: {},
      format: '',
      min_tokens: 0,
      ignore_eos: false,
      stop_token_ids: [],
      lora: [],
      tools: [],
      prompt_logprobs: null,
    };
    expect((await ask(path, { ...body, ...asksForNothing })).status).toBe(200);
  });

  it('should leave what changes no answer without effect', async () => {
    const { ask } = setUp();
    const unread = { user: 'u', cache_prompt: true, store: false, service_tier: 'auto', id_slot: 0, priority: 1 };
    expect((await ask(path, { ...body, ...unread })).status).toBe(200);
  });
});
