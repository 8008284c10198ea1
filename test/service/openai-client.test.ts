/** The shipped model in the real runtime, driven through the client that most programs use. */
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import OpenAI, { type APIError, BadRequestError, InternalServerError, NotFoundError } from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MODELS } from '../../support/models-folder.ts';
import { type Service, serve } from '../../support/serving.ts';

const PROMPT = 'def add(a, b):\n    return ';

/** The model's own vocabulary, as a client has it that counts tokens. */
const vocabulary = (
  JSON.parse(readFileSync(join(MODELS, 'nano/tokenizer.json'), 'utf8')) as { model: { vocab: object } }
).model.vocab as Record<string, number>;

function ids(wanted: (token: { text: string }) => boolean): number[] {
  return Object.entries(vocabulary)
    .filter(([text]) => !text.startsWith('<|') && wanted({ text }))
    .map(([, id]) => id);
}

function clientOf({ url }: Service): OpenAI {
  return new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 0 });
}

describe('the service with its model', () => {
  let service: Service;
  let client: OpenAI;

  beforeAll(async () => {
    service = await serve(MODELS);
    client = clientOf(service);
  });

  afterAll(() => service?.stop());

  it('should become ready', async () => {
    const response = await fetch(`${service.url}/ready`);
    expect({ status: response.status, body: await response.json() }).toEqual({
      status: 200,
      body: { status: 'ready', model: 'nano', models: [{ id: 'nano', state: 'loaded' }] },
    });
  });

  it('should list its model', async () => {
    const models = await client.models.list();
    expect(models.data.map(({ id, object }) => ({ id, object }))).toEqual([{ id: 'nano', object: 'model' }]);
    expect(await client.models.retrieve('nano')).toMatchObject({ id: 'nano', owned_by: 'quicksilver' });
  });

  it('should complete a prompt, the same way each time when greedy', async () => {
    const request = { model: 'nano', prompt: PROMPT, max_tokens: 16 };
    const first = await client.completions.create(request);
    expect(first.object).toBe('text_completion');
    expect(first.choices).toHaveLength(1);
    expect(first.choices[0]?.text).not.toBe('');
    expect(first.choices[0]?.finish_reason).toMatch(/^(stop|length)$/);
    expect(first.usage?.prompt_tokens).toBeGreaterThan(0);
    expect(first.usage?.completion_tokens).toBeGreaterThan(0);
    expect(first.usage?.completion_tokens).toBeLessThanOrEqual(16);
    const second = await client.completions.create(request);
    expect(second.choices[0]?.text).toBe(first.choices[0]?.text);
  });

  it('should fill in between a prompt and a suffix', async () => {
    const withSuffix = await client.completions.create({
      model: 'nano',
      prompt: 'def area(width, height):\n    return ',
      suffix: '\n\nprint(area(2, 3))\n',
      max_tokens: 32,
    });
    expect(withSuffix.choices[0]?.finish_reason).toMatch(/^(stop|length)$/);
    expect(withSuffix.usage?.prompt_tokens).toBeGreaterThan(10);
  });

  it('should end before a stop string', async () => {
    const text = async (stop?: string) => {
      const answer = await client.completions.create({
        model: 'nano',
        prompt: PROMPT,
        max_tokens: 32,
        stop: stop ?? null,
      });
      return answer.choices[0]?.text ?? '';
    };
    const whole = await text();
    const stop = whole.slice(2, 4);
    expect(stop).not.toBe('');
    expect(await text(stop)).toBe(whole.slice(0, whole.indexOf(stop)));
  });

  it('should give the same sampled text for the same seed', async () => {
    const sample = async (seed: number) => {
      const answer = await client.completions.create({
        model: 'nano',
        prompt: PROMPT,
        max_tokens: 16,
        temperature: 1,
        seed,
        n: 2,
      });
      return answer.choices.map(({ text }) => text);
    };
    expect(await sample(7)).toEqual(await sample(7));
    // Choice i has seed + i.
    expect((await sample(8))[0]).toBe((await sample(7))[1]);
  });

  it('should report the most probable tokens of each place', async () => {
    const { choices } = await client.completions.create({ model: 'nano', prompt: PROMPT, max_tokens: 8, logprobs: 5 });
    const { tokens, token_logprobs, top_logprobs, text_offset } = choices[0]!.logprobs!;
    expect(tokens!.join('')).toBe(choices[0]!.text);
    for (const [at, token] of tokens!.entries()) {
      const top = Object.values(top_logprobs![at]!);
      expect(top.length).toBeOneOf([5, 6]);
      expect(top.reduce((sum, logProbability) => sum + Math.exp(logProbability), 0)).toBeLessThanOrEqual(1.0001);
      expect(top_logprobs![at]).toHaveProperty([token], token_logprobs![at]);
      expect(choices[0]!.text.slice(text_offset![at])).toMatch(new RegExp(`^${RegExp.escape(token)}`));
    }
  });

  it('should say nothing that is banned, and nothing else than what is biased enough', async () => {
    const ask = (logit_bias: Record<string, number>) =>
      client.completions.create({ model: 'nano', prompt: PROMPT, max_tokens: 8, logit_bias });
    const said = (await ask({})).choices[0]!.text;
    // Any token that begins with a character of the text.
    const bans = ids(({ text }) => text !== '' && said.includes(text[0]!)).slice(0, 300);
    expect(bans.length).toBeGreaterThan(10);
    const other = (await ask(Object.fromEntries(bans.map((id) => [id, -100])))).choices[0]!.text;
    expect(other).not.toBe(said);
    const [id] = ids(({ text }) => text === 'return');
    expect((await ask({ [String(id)]: 100 })).choices[0]!.text).toBe('return'.repeat(8));
  });

  it('should complete token ids as it completes their text', async () => {
    const [id] = ids(({ text }) => text === 'return');
    const asked = { model: 'nano', max_tokens: 8 };
    const byIds = await client.completions.create({ ...asked, prompt: [[id!], [id!, id!]], echo: true });
    const byText = await client.completions.create({ ...asked, prompt: 'return', echo: true });
    expect(byIds.choices).toHaveLength(2);
    expect(byIds.choices[0]!.text).toBe(byText.choices[0]!.text);
    expect(byIds.choices[1]!.text).toMatch(/^returnreturn/);
  });

  it('should answer within a budget of steps', async () => {
    const steps = async (fields: object) => {
      const answer = await client.completions.create({ model: 'nano', prompt: PROMPT, max_tokens: 32, ...fields });
      expect(answer.choices[0]!.text).not.toBe('');
      return (answer.usage as unknown as { quicksilver: { steps: number } }).quicksilver.steps;
    };
    const all = await steps({});
    expect(all).toBeGreaterThan(6);
    expect(await steps({ max_steps: 2 })).toBe(2);
    // The runtime's clock goes in milliseconds, and a step of a narrow canvas takes less than one.
    expect(await steps({ deadline_ms: 0.001 })).toBeLessThan(all / 2);
  });

  it('should stream what it answers whole, with usage at the end', async () => {
    const request = { model: 'nano', prompt: PROMPT, max_tokens: 32 };
    const whole = await client.completions.create(request);
    const stream = await client.completions.create({
      ...request,
      stream: true,
      stream_options: { include_usage: true },
    });
    const chunks = await Array.fromAsync(stream);
    expect(chunks.map(({ choices }) => choices[0]?.text ?? '').join('')).toBe(whole.choices[0]?.text);
    expect(chunks.at(-2)?.choices[0]?.finish_reason).toBe(whole.choices[0]?.finish_reason);
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { completion_tokens: whole.usage?.completion_tokens } });
  });

  it('should stream the whole canvas at each step when diffusing', async () => {
    const request = { model: 'nano', prompt: PROMPT, max_tokens: 32 };
    const whole = await client.completions.create(request);
    const stream = await client.completions.create({ ...request, stream: true, ...{ diffusing: true } });
    const texts = (await Array.fromAsync(stream)).map(({ choices }) => choices[0]?.text);
    expect(texts.length).toBeGreaterThan(1);
    expect(texts.at(-1)).toBe(whole.choices[0]?.text);
  });

  it('should answer fill in the middle in both shapes', async () => {
    const response = await fetch(`${service.url}/v1/fim/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'nano', prompt: PROMPT, suffix: '\n', max_tokens: 16 }),
    });
    const { choices } = (await response.json()) as { choices: { text: string; message: { content: string } }[] };
    expect(choices[0]?.message.content).toBe(choices[0]?.text);
  });

  it('should raise the errors of the client', async () => {
    const unknownModel = client.completions.create({ model: 'gpt-4', prompt: PROMPT });
    await expect(unknownModel).rejects.toThrow(NotFoundError);
    const special = client.completions.create({ model: 'nano', prompt: [1, 2, 3] });
    await expect(special).rejects.toThrow(BadRequestError);
    const biased = client.completions.create({ model: 'nano', prompt: PROMPT, logit_bias: { 4096: -100 } });
    await expect(biased).rejects.toMatchObject({ status: 400, param: 'logit_bias.4096' });
  });

  it('should answer others after a client left in the middle of a stream', async () => {
    const stream = await client.completions.create({ model: 'nano', prompt: PROMPT, max_tokens: 256, stream: true });
    for await (const _ of stream) break;
    const after = await client.completions.create({ model: 'nano', prompt: PROMPT, max_tokens: 4 });
    expect(after.choices).toHaveLength(1);
  });

  it('should answer requests that come together, each its own', async () => {
    const prompts = ['import ', 'def main():\n    ', 'class Point:\n    '];
    const ask = async (prompt: string) => {
      const answer = await client.completions.create({ model: 'nano', prompt, max_tokens: 16 });
      return answer.choices[0]?.text;
    };
    const together = await Promise.all(prompts.map(ask));
    const alone: (string | undefined)[] = [];
    for (const prompt of prompts) alone.push(await ask(prompt));
    expect(together).toEqual(alone);
  });
});

describe('the service without a model', () => {
  let service: Service;
  let empty: string;

  beforeAll(async () => {
    empty = await mkdtemp(join(tmpdir(), 'quicksilver-models-'));
    service = await serve(empty);
  });

  afterAll(async () => {
    await service?.stop();
    await rm(empty, { recursive: true });
  });

  it('should be alive, unready and say what is missing', async () => {
    expect((await fetch(`${service.url}/health`)).status).toBe(200);
    const response = await fetch(`${service.url}/ready`);
    expect({ status: response.status, body: await response.json() }).toMatchObject({
      status: 503,
      body: { status: 'unavailable', reason: 'missing', files: ['manifest.json'] },
    });
  });

  it('should answer completions with an error of the server that may be tried again', async () => {
    const error: unknown = await clientOf(service)
      .completions.create({ model: 'nano', prompt: PROMPT })
      .catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(InternalServerError);
    expect((error as APIError).status).toBe(503);
    expect((error as APIError).headers?.get('retry-after')).toMatch(/^\d+$/);
    expect((error as APIError).code).toBe('model_unavailable');
  });
});
