/**
 * What editors send, request by request, to the shipped model in the real runtime, and every field that they read of
 * the answers. Rebuilt from their sources, which are named at each; the schemas are what their code takes without a
 * check.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import * as z from 'zod';
import { MODELS } from '../../support/models-folder.ts';
import { type Service, serve } from '../../support/serving.ts';
import { llamaVimRequest, llamaVimWarmUp } from '../support/llama-vim.ts';

const PREFIX = 'import json\n\n\ndef read(path):\n    with open(path) as file:\n        ';
const SUFFIX = '\n\n\nprint(read("settings.json"))\n';

const count = z.int().min(0);
const finishReason = z.enum(['stop', 'length']).nullable();

describe('the service with its model', () => {
  let service: Service;

  beforeAll(async () => {
    service = await serve(MODELS);
  });

  afterAll(() => service?.stop());

  async function ask(path: string, body: object, headers: Record<string, string> = {}): Promise<string> {
    const response = await fetch(service.url + path, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: 'Bearer none', ...headers },
      body: JSON.stringify(body),
    });
    const text = await response.text();
    expect({ status: response.status, text: response.ok || text }).toEqual({ status: 200, text: true });
    return text;
  }

  /** The data of the events of a stream, as a line-wise reader takes them. */
  async function stream(path: string, body: object): Promise<unknown[]> {
    const lines = (await ask(path, { ...body, stream: true }, { accept: 'application/json' })).split('\n');
    const data = lines.filter((line) => line.startsWith('data:')).map((line) => line.slice('data:'.length).trim());
    expect(data.pop()).toBe('[DONE]');
    return data.map((text) => JSON.parse(text) as unknown);
  }

  describe('llama.vim (autoload/llama.vim: llama#fim, s:fim_on_response, s:fim_render, s:ring_update)', () => {
    /** What Vim's reltime() says. */
    const at = (seconds: number): [number, number] => [seconds, 5678];
    const extra = [
      { text: 'def load(path):\n    return json.load(open(path))\n', time: at(1234), filename: 'load.py' },
      { text: 'settings = {}\n', time: at(1235), filename: 'settings.py' },
    ];
    const place = {
      prefix: PREFIX.slice(0, PREFIX.lastIndexOf('\n') + 1),
      line: '        ',
      suffix: SUFFIX,
      extra,
      maxPredictMs: 1000,
    };
    const request = llamaVimRequest(place);
    const answer = z.object({
      content: z.string(),
      'timings/prompt_n': count,
      'timings/prompt_ms': z.number(),
      'timings/prompt_per_second': z.number(),
      'timings/predicted_n': count,
      'timings/predicted_ms': z.number(),
      'timings/predicted_per_second': z.number(),
      tokens_cached: count,
      truncated: z.boolean(),
    });

    it('should show a completion', async () => {
      const text = await ask('/infill', request);
      // What the plugin asks of the text before it decodes it.
      expect(text).toMatch(/^\s*\{/);
      expect(text).toMatch(/"content"\s*:"/);
      const { content } = answer.parse(JSON.parse(text));
      expect(content === '' || content.trim() !== '').toBe(true);
    });

    it('should show the first completion of a place, which has 250 ms', async () => {
      answer.parse(JSON.parse(await ask('/infill', llamaVimRequest({ ...place, maxPredictMs: 250 }))));
    });

    it('should go on from a completion that is shown already', async () => {
      const shown = llamaVimRequest({ ...place, prefix: `${PREFIX}data = json.load(file)\n` });
      answer.parse(JSON.parse(await ask('/infill', shown)));
    });

    it('should warm the cache, of which no answer is read', async () => {
      expect(JSON.parse(await ask('/infill', llamaVimWarmUp(extra)))).toEqual({});
    });
  });

  describe('white space before the cursor', () => {
    const FUNCTION = 'function f() {\n  const a = 1;\n  return ';
    /** One token, which the bias makes the only one. */
    const written = async (prompt: string, token: string, editor: boolean) => {
      const body = { prompt, input_suffix: '\n}\n', n_predict: 1, logit_bias: [[token, 100]], editor };
      return (JSON.parse(await ask('/infill', body)) as { content: string }).content;
    };

    it.each([
      ['a blank', FUNCTION, ' a', 'a'],
      ['an indentation', FUNCTION.slice(0, -'return '.length), '  ', ''],
    ])('should be shown once where the model repeats it: %s', async (_, prompt, token, shown) => {
      expect(await written(prompt, token, false)).toBe(token);
      expect(await written(prompt, token, true)).toBe(shown);
    });

    it('should be shown with what is meant to stand apart', async () => {
      const prompt = 'function f() {\n  const a = 1; ';
      expect(await written(prompt, ' //', true)).toBe(await written(prompt, ' //', false));
    });
  });

  describe('a repetition that the limit cuts', () => {
    /** The bias makes the model write one token again and again. */
    const written = async (n_predict: number, editor: boolean) => {
      const place = { input_prefix: 'import numpy\n\nvalues = numpy.array(', input_suffix: ')\n', min_confidence: 0 };
      const body = { ...place, n_predict, logit_bias: [[' a', 100]], editor };
      return (JSON.parse(await ask('/infill', body)) as { content: string }).content;
    };

    it.each([8, 16, 64])('should not be shown, however little confidence is asked for, after %i tokens', async (n) => {
      expect(await written(n, false)).toBe(' a'.repeat(n));
      expect(await written(n, true)).toBe('');
    });
  });

  describe('llama.vscode (src/llama-server.ts: createRequestPayload; src/completion.ts)', () => {
    const request = {
      id_slot: 0,
      input_prefix: PREFIX,
      input_suffix: SUFFIX,
      input_extra: [{ text: 'settings = {}\n', time: 1_700_000_000_000, filename: 'settings.py' }],
      prompt: '        ',
      n_predict: 128,
      n_cmpl: 3,
      top_k: 40,
      top_p: 0.99,
      stream: false,
      samplers: ['top_k', 'top_p', 'infill'],
      cache_prompt: true,
      n_indent: 8,
      t_max_prompt_ms: 500,
      t_max_predict_ms: 1000,
    };
    const answer = z.object({
      content: z.string(),
      generation_settings: z.object({ n_ctx: count.min(1) }),
      tokens_cached: count,
      truncated: z.boolean(),
      timings: z.object({
        prompt_n: count,
        prompt_ms: z.number(),
        prompt_per_second: z.number(),
        predicted_n: count,
        predicted_ms: z.number(),
        predicted_per_second: z.number(),
      }),
    });

    it('should show several completions', async () => {
      expect(z.array(answer).parse(JSON.parse(await ask('/infill', request)))).toHaveLength(3);
    });

    it('should show the completion of an editor that asks for one', async () => {
      const { n_cmpl: _, ...one } = request;
      answer.parse(JSON.parse(await ask('/infill', one)));
    });

    it('should warm the cache', async () => {
      const { id_slot, input_extra, cache_prompt, t_max_prompt_ms } = request;
      const empty = { input_prefix: '', input_suffix: '', prompt: '' };
      const warmUp = { id_slot, ...empty, input_extra, n_predict: 0, samplers: [], cache_prompt };
      const { content } = answer.parse(
        JSON.parse(await ask('/infill', { ...warmUp, t_max_prompt_ms, t_max_predict_ms: 1 })),
      );
      expect(content).toBe('');
    });
  });

  describe('minuet-ai.nvim (lua/minuet/backends/openai_base.lua, openai_fim_compatible.lua, codestral.lua)', () => {
    const request = {
      model: 'nano',
      max_tokens: 64,
      editor: true,
      prompt: `# language: python\n# indentation: use 4 spaces for a tab\n${PREFIX}`,
      suffix: SUFFIX,
    };
    const textOf = (chunks: unknown[]) =>
      chunks.map(
        (chunk) => z.object({ choices: z.tuple([z.object({ text: z.string() })]) }).parse(chunk).choices[0].text,
      );

    it('should put the completion together from a stream', async () => {
      const whole = JSON.parse(await ask('/v1/completions', { ...request, stream: false }));
      expect(textOf(await stream('/v1/completions', request)).join('')).toBe(textOf([whole])[0]);
    });

    it("should do so with Codestral's provider", async () => {
      const chunk = z.object({ choices: z.tuple([z.object({ delta: z.object({ content: z.string() }) })]) });
      const contents = (await stream('/v1/fim/completions', { ...request, stop: ['\n\n'] })).map(
        (item) => chunk.parse(item).choices[0].delta.content,
      );
      expect(contents.join('')).not.toContain('\n\n');
    });
  });

  describe('Continue', () => {
    /** core/autocomplete/templating: the template of a model that it does not know, and getStopTokens.ts. */
    const STOPS = [
      ...['<fim_prefix>', '<fim_suffix>', '<fim_middle>', '<file_sep>', '<|endoftext|>', '</fim_middle>', '</code>'],
      ...['\n\n', '\r\n\r\n', '/src/', '#- coding: utf-8', '```'],
    ];
    const request = {
      model: 'nano',
      prompt: `# Path: settings.py\n# settings = {}\n# Path: read.py\n${PREFIX}`,
      suffix: SUFFIX,
      max_tokens: 256,
      temperature: 0.01,
      stop: STOPS,
    };

    it('should read delta.content with the provider mistral (openai-adapters: OpenAI.ts, fimStream)', async () => {
      const chunk = z.object({
        choices: z.array(
          z.object({ index: count, delta: z.object({ content: z.string() }), finish_reason: finishReason }),
        ),
      });
      const chunks = (await stream('/v1/fim/completions', { ...request, editor: true })).map((item) =>
        chunk.parse(item),
      );
      expect(chunks.at(-1)?.choices[0]?.finish_reason).not.toBeNull();
    });

    it.each([
      ['between two parts', SUFFIX],
      ['at the end of a file', '<|endoftext|>'],
    ])('should read text %s with the provider inception (core/llm/llms/Inception.ts)', async (_, suffix) => {
      const chunk = z.object({ choices: z.tuple([z.object({ text: z.string(), finish_reason: finishReason })]) });
      const body = { ...request, suffix, max_tokens: 150, presence_penalty: 1.5, stop: [...STOPS, '\n\n', '\n \n'] };
      const texts = (await stream('/v1/completions', body)).map((item) => chunk.parse(item).choices[0].text);
      expect(texts.join('')).not.toContain('\n\n');
    });

    it('should list the models (core/llm/llms/OpenAI.ts: listModels)', async () => {
      const list: unknown = await (await fetch(`${service.url}/v1/models`)).json();
      expect(z.object({ data: z.array(z.object({ id: z.string() })) }).parse(list).data).toEqual([{ id: 'nano' }]);
    });
  });

  describe('Zed (crates/edit_prediction: fim.rs, open_ai_compatible.rs; RawCompletionResponse)', () => {
    const answer = z.object({
      id: z.string(),
      object: z.string(),
      created: count,
      model: z.string(),
      choices: z.array(z.object({ text: z.string(), finish_reason: z.string().nullable() })).length(1),
      usage: z.object({ prompt_tokens: z.uint32(), completion_tokens: z.uint32(), total_tokens: z.uint32() }),
    });

    it.each([
      ['qwen', `<|fim_prefix|>${PREFIX}<|fim_suffix|>${SUFFIX}<|fim_middle|>`, ['<|endoftext|>', '<|fim_prefix|>']],
      ['starcoder', `<fim_prefix>${PREFIX}<fim_suffix>${SUFFIX}<fim_middle>`, ['<|endoftext|>', '<fim_prefix>']],
      ['codellama', `<PRE> ${PREFIX} <SUF>${SUFFIX} <MID>`, ['<PRE>', '<SUF>', '<MID>']],
      ['deepseek_coder', `<｜fim▁begin｜>${PREFIX}<｜fim▁hole｜>${SUFFIX}<｜fim▁end｜>`, ['<｜fim▁begin｜>']],
      ['codestral', `[SUFFIX]${SUFFIX}[PREFIX]${PREFIX}`, ['[PREFIX]', '[SUFFIX]']],
      ['glm', `<|code_prefix|>${PREFIX}<|code_suffix|>${SUFFIX}<|code_middle|>`, ['<|endoftext|>']],
    ])('should show the same with the prompt format %s as with a suffix', async (_, prompt, stop) => {
      const request = { model: 'nano', prompt, max_tokens: 64, stop };
      const { choices } = answer.parse(JSON.parse(await ask('/v1/completions?editor=true', request)));
      const plain = { ...request, prompt: PREFIX, suffix: SUFFIX };
      const expected = answer.parse(JSON.parse(await ask('/v1/completions?editor=true', plain)));
      expect(choices).toEqual(expected.choices);
    });

    it('should show a completion with the provider ollama', async () => {
      const request = {
        model: 'nano',
        prompt: `<fim_prefix>${PREFIX}<fim_suffix>${SUFFIX}<fim_middle>`,
        raw: true,
        stream: false,
        options: { num_predict: 64, temperature: 0.2, stop: ['<|endoftext|>', '<|fim_pad|>', '<fim_prefix>'] },
      };
      const text = await ask('/api/generate', request);
      z.object({ response: z.string(), created_at: z.iso.datetime() }).parse(JSON.parse(text));
    });
  });

  describe("Tabby's agent (clients/tabby-agent/src: http/tabbyApiClient.ts, codeCompletion)", () => {
    const request = {
      language: 'python',
      segments: {
        prefix: PREFIX,
        suffix: SUFFIX,
        filepath: 'src/read.py',
        git_url: 'https://git.example/read.git',
        declarations: [{ filepath: 'json.pyi', body: 'def load(fp): ...' }],
        relevant_snippets_from_changed_files: [{ filepath: 'a.py', body: 'settings = {}', score: 0.8 }],
        relevant_snippets_from_recently_opened_files: [{ filepath: 'b.py', body: 'a = 1', score: 1 }],
      },
    };
    const answer = z.object({
      id: z.string().min(1),
      choices: z.tuple([z.object({ index: z.literal(0), text: z.string() })]),
    });

    it('should connect', async () => {
      const health: unknown = await (await fetch(`${service.url}/v1/health`)).json();
      z.object({
        // Completions are available because there is one; chat is not.
        model: z.string().min(1),
        chat_model: z.null(),
        device: z.string(),
        // semver.coerce() of it is null, and the client asks on.
        version: z.object({ git_describe: z.literal('') }),
      }).parse(health);
      const setting: unknown = await (await fetch(`${service.url}/v1beta/server_setting`)).json();
      expect(setting).toEqual({ disable_client_side_telemetry: true });
    });

    it('should show one to cmp-ai, which has the least to say (lua/cmp_ai/backends/tabby.lua)', async () => {
      const { prefix, suffix, filepath } = request.segments;
      const least = { language: 'python', segments: { prefix, suffix, filepath } };
      const { choices } = answer.parse(JSON.parse(await ask('/v1/completions', least)));
      expect(choices).toHaveLength(1);
    });

    it.each([
      ['as one types', {}],
      ['when asked for more, warmer ones', { temperature: 0.8 }],
    ])('should show a completion %s, and tell what became of it', async (_, fields) => {
      const { id, choices } = answer.parse(JSON.parse(await ask('/v1/completions', { ...request, ...fields })));
      expect(choices[0].text === '' || choices[0].text.trim() !== '').toBe(true);
      for (const [type, query] of [
        ['view', ''],
        ['select', '?select_kind=line'],
        ['dismiss', ''],
      ] as const) {
        const event = { type, completion_id: id, choice_index: 0, view_id: `${id}-1`, elapsed: 1234 };
        const response = await fetch(`${service.url}/v1/events${query}`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify(event),
        });
        expect(response.ok).toBe(true);
      }
    });
  });
});
