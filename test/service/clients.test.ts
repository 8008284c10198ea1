/** Clients of other services, pointed at this one: whole answers, streams, a stream left in the middle, errors. */
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { Mistral } from '@mistralai/mistralai';
import { MistralError } from '@mistralai/mistralai/models/errors';
import { APICallError, generateText, streamText } from 'ai';
import { Ollama } from 'ollama';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MODELS } from '../../support/models-folder.ts';
import { type Service, serve } from '../../support/serving.ts';

const PROMPT = 'def add(a, b):\n    return ';
const SUFFIX = '\n\nprint(add(1, 2))\n';

/** Long enough that a client can leave before the end. */
const LONG = 256;

/** The only error that leaving may raise; a model that ends early has finished before, and none is raised. */
function expectAbort(error: unknown): void {
  expect(String(error)).toMatch(/abort/i);
}

describe('the service with its model', () => {
  let service: Service;

  beforeAll(async () => {
    service = await serve(MODELS);
  });

  afterAll(() => service?.stop());

  describe('@mistralai/mistralai', () => {
    let client: Mistral;
    const request = { model: 'nano', prompt: PROMPT, suffix: SUFFIX, maxTokens: 16 };

    beforeAll(() => {
      client = new Mistral({ serverURL: service.url, apiKey: 'none' });
    });

    it('should fill in the middle', async () => {
      const { id, model, choices, usage } = await client.fim.complete({ ...request, randomSeed: 1, temperature: 0 });
      expect(id).toMatch(/^cmpl-/);
      expect(model).toBe('nano');
      expect(choices).toHaveLength(1);
      expect(choices[0]?.message?.content).toEqual(expect.any(String));
      expect(choices[0]?.finishReason).toMatch(/^(stop|length)$/);
      expect(usage.promptTokens).toBeGreaterThan(0);
      expect(usage.totalTokens).toBe((usage.promptTokens ?? 0) + (usage.completionTokens ?? 0));
    });

    it('should stream what it answers whole', async () => {
      const whole = await client.fim.complete(request);
      const events = await Array.fromAsync(await client.fim.stream(request));
      const choices = events.map(({ data }) => data.choices[0]);
      expect(choices.map((choice) => choice?.delta.content ?? '').join('')).toBe(whole.choices[0]?.message?.content);
      expect(choices.at(-1)?.finishReason).toBe(whole.choices[0]?.finishReason);
    });

    it('should list the models, and take the limits of its own description', async () => {
      const { data } = await client.models.list();
      expect(data).toMatchObject([{ id: 'nano', type: 'base', capabilities: { completionFim: true } }]);
      const limits = { maxTokens: 4, minTokens: 0, temperature: 1.5, topP: 0, randomSeed: 0, stop: ['', 'x'] };
      expect((await client.fim.complete({ ...request, ...limits })).choices).toHaveLength(1);
    });

    it('should answer on after a stream was aborted', async () => {
      const leaving = new AbortController();
      const stream = await client.fim.stream({ ...request, suffix: '', maxTokens: LONG }, { signal: leaving.signal });
      const read = async () => {
        for await (const _ of stream) leaving.abort();
      };
      await read().catch(expectAbort);
      expect((await client.fim.complete(request)).choices).toHaveLength(1);
    });

    it('should raise the error of the client', async () => {
      const error: unknown = await client.fim.complete({ ...request, model: 'codestral' }).catch((reason) => reason);
      expect(error).toBeInstanceOf(MistralError);
      const { statusCode, body } = error as MistralError;
      expect(statusCode).toBe(404);
      expect(JSON.parse(body)).toMatchObject({ error: { param: 'model', code: 'model_not_found' } });
    });
  });

  describe('ai with @ai-sdk/openai-compatible', () => {
    const modelOf = (name: string) =>
      createOpenAICompatible({ name: 'quicksilver', baseURL: `${service.url}/v1`, includeUsage: true }).completionModel(
        name,
      );
    const call = (name = 'nano') => ({
      model: modelOf(name),
      prompt: PROMPT,
      maxOutputTokens: 16,
      temperature: 0,
      maxRetries: 0,
      providerOptions: { quicksilver: { suffix: SUFFIX } },
    });

    it('should generate text', async () => {
      const { text, finishReason, usage, response } = await generateText(call());
      expect(text).toEqual(expect.any(String));
      expect(finishReason).toMatch(/^(stop|length)$/);
      expect(usage.inputTokens).toBeGreaterThan(0);
      expect(usage.outputTokens).toBeLessThanOrEqual(16);
      expect(response).toMatchObject({ id: expect.stringMatching(/^cmpl-/), modelId: 'nano' });
    });

    it('should stream the text that it generates, with usage', async () => {
      const whole = await generateText(call());
      const stream = streamText(call());
      expect((await Array.fromAsync(stream.textStream)).join('')).toBe(whole.text);
      expect(await stream.finishReason).toBe(whole.finishReason);
      expect(await stream.usage).toMatchObject({ outputTokens: whole.usage.outputTokens });
    });

    it('should answer on after a stream was aborted', async () => {
      const leaving = new AbortController();
      const { fullStream } = streamText({ ...call(), maxOutputTokens: LONG, abortSignal: leaving.signal });
      const types: string[] = [];
      for await (const { type } of fullStream) {
        types.push(type);
        if (type === 'text-start') leaving.abort();
      }
      expect(['abort', 'finish']).toContain(types.at(-1));
      expect((await generateText(call())).response.modelId).toBe('nano');
    });

    it('should raise the error of the client', async () => {
      const error: unknown = await generateText(call('gpt-4')).catch((reason) => reason);
      expect(APICallError.isInstance(error)).toBe(true);
      expect(error).toMatchObject({
        statusCode: 404,
        isRetryable: false,
        data: { error: { code: 'model_not_found' } },
      });
    });
  });

  describe('ollama', () => {
    let client: Ollama;
    const request = { model: 'nano', prompt: PROMPT, suffix: SUFFIX, options: { num_predict: 16 } };

    beforeAll(() => {
      client = new Ollama({ host: service.url });
    });

    it('should list the model', async () => {
      const { models } = await client.list();
      expect(models).toMatchObject([{ name: 'nano:latest', details: { family: 'quicksilver' } }]);
      expect(new Date(models[0]!.modified_at).getTime()).toBeGreaterThan(0);
    });

    it('should learn at start what the model is', async () => {
      expect((await client.version()).version).toMatch(/^\d+\.\d+\.\d+$/);
      const { template, capabilities, details } = await client.show({ model: 'nano' });
      expect(template).toContain('.Suffix');
      expect(capabilities).toContain('insert');
      expect(details).toMatchObject({
        quantization_level: 'int4',
        parameter_size: expect.stringMatching(/^[\d.]+[KMB]$/),
      });
      const { models } = await client.ps();
      expect(models).toMatchObject([{ name: 'nano:latest', digest: expect.stringMatching(/^[0-9a-f]{64}$/) }]);
      expect(models[0]!.size).toBeGreaterThan(1e6);
    });

    it('should get a final error because the model does not chat', async () => {
      const chat = client.chat({ model: 'nano', messages: [{ role: 'user', content: 'hi' }] });
      await expect(chat).rejects.toMatchObject({ name: 'ResponseError', status_code: 400 });
    });

    it('should generate between prompt and suffix', async () => {
      const answer = await client.generate({ ...request, stream: false });
      expect(answer).toMatchObject({ model: 'nano', response: expect.any(String), done: true });
      expect(answer.done_reason).toMatch(/^(stop|length)$/);
      expect(answer.prompt_eval_count).toBeGreaterThan(0);
      expect(answer.eval_count).toBeLessThanOrEqual(16);
      expect(answer.total_duration).toEqual(expect.any(Number));
    });

    it('should stream what it answers whole', async () => {
      const whole = await client.generate({ ...request, stream: false });
      const parts = await Array.fromAsync(await client.generate({ ...request, stream: true }));
      expect(parts.map(({ response }) => response).join('')).toBe(whole.response);
      expect(parts.at(-1)).toMatchObject({ done: true, done_reason: whole.done_reason, eval_count: whole.eval_count });
    });

    it('should answer on after a stream was aborted', async () => {
      const stream = await client.generate({ ...request, suffix: '', options: { num_predict: LONG }, stream: true });
      const read = async () => {
        for await (const _ of stream) stream.abort();
      };
      await read().catch(expectAbort);
      expect(await client.generate({ ...request, stream: false })).toMatchObject({ done: true });
    });

    it('should raise the error of the client, with its message', async () => {
      await expect(client.generate({ ...request, model: 'llama3' })).rejects.toMatchObject({
        name: 'ResponseError',
        status_code: 404,
        message: expect.stringContaining("'llama3'"),
      });
    });

    it('should raise the error of a body that is too large, with its message', async () => {
      await expect(client.generate({ ...request, prompt: 'x'.repeat(300 * 1024) })).rejects.toMatchObject({
        name: 'ResponseError',
        status_code: 413,
        message: expect.stringContaining('larger than'),
      });
    });
  });
});
