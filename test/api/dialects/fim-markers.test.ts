import { describe, expect, it } from 'vitest';
import { splitAtMarkers } from '../../../src/api/dialects/fim-markers.ts';
import { createApp } from '../../../src/app.ts';
import { post } from '../../support/requests.ts';
import { catalogOf, scriptedEngine } from '../../support/scripted-engine.ts';

const PREFIX = 'def f(x):\n    return ';
const SUFFIX = '\n\nprint(f(1))\n';
const PARTS = { prefix: PREFIX, suffix: SUFFIX };

describe('fill-in-the-middle markers', () => {
  it.each([
    ['Qwen and CodeGemma', `<|fim_prefix|>${PREFIX}<|fim_suffix|>${SUFFIX}<|fim_middle|>`],
    ['StarCoder', `<fim_prefix>${PREFIX}<fim_suffix>${SUFFIX}<fim_middle>`],
    ['StarCoder, suffix first', `<fim_prefix><fim_suffix>${SUFFIX}<fim_middle>${PREFIX}`],
    ['Code Llama', `<PRE> ${PREFIX} <SUF>${SUFFIX} <MID>`],
    ['Code Llama behind its start token', `<s><PRE> ${PREFIX} <SUF>${SUFFIX} <MID>`],
    ['DeepSeek', `<｜fim▁begin｜>${PREFIX}<｜fim▁hole｜>${SUFFIX}<｜fim▁end｜>`],
    ['Codestral', `[SUFFIX]${SUFFIX}[PREFIX]${PREFIX}`],
    ['GLM', `<|code_prefix|>${PREFIX}<|code_suffix|>${SUFFIX}<|code_middle|>`],
  ])('should be those of %s', (_, prompt) => {
    expect(splitAtMarkers(prompt)).toEqual(PARTS);
  });

  it('should put the other files of a repository before the prefix, without their markers', () => {
    const prompt = `<|repo_name|>demo\n<|file_sep|>a.py\nx = 1\n<|file_sep|>b.py\n<|fim_prefix|>${PREFIX}<|fim_suffix|>${SUFFIX}<|fim_middle|>`;
    expect(splitAtMarkers(prompt)).toEqual({ prefix: `demo\na.py\nx = 1\nb.py\n${PREFIX}`, suffix: SUFFIX });
  });

  it('should be found again when prefix or suffix is empty', () => {
    expect(splitAtMarkers('<|fim_prefix|><|fim_suffix|>b<|fim_middle|>')).toEqual({ prefix: '', suffix: 'b' });
    expect(splitAtMarkers('<|fim_prefix|>a<|fim_suffix|><|fim_middle|>')).toEqual({ prefix: 'a', suffix: '' });
    expect(splitAtMarkers('[SUFFIX][PREFIX]a')).toEqual({ prefix: 'a', suffix: '' });
  });

  it.each([
    'def f(x):',
    '<|fim_prefix|>a<|fim_suffix|>b',
    '<|fim_suffix|>b<|fim_middle|>',
    '<|fim_middle|>a<|fim_suffix|>b<|fim_prefix|>',
    '[SUFFIX] of a list',
    "MARKERS = ['<|fim_prefix|>', '<|fim_suffix|>', '<|fim_middle|>']",
  ])('should not be seen in %j', (prompt) => {
    expect(splitAtMarkers(prompt)).toBeUndefined();
  });
});

describe('POST /v1/completions with markers in the prompt', () => {
  const setUp = () => {
    const engine = scriptedEngine();
    return { engine, app: createApp(catalogOf(engine)) };
  };
  const prompt = `<|fim_prefix|>${PREFIX}<|fim_suffix|>${SUFFIX}<|fim_middle|>`;

  it('should answer the request of Zed', async () => {
    const { app, engine } = setUp();
    const response = await post(app, '/v1/completions', {
      model: 'nano',
      prompt,
      max_tokens: 64,
      temperature: null,
      stop: ['<|endoftext|>', '<|fim_prefix|>', '<|fim_middle|>', '<|fim_suffix|>'],
      environment: null,
    });
    expect(engine.requests).toMatchObject([PARTS]);
    // Zed's types have no optional fields.
    expect(await response.json()).toMatchObject({
      id: expect.any(String),
      object: 'text_completion',
      created: expect.any(Number),
      model: 'nano',
      choices: [{ text: 'hello world!', finish_reason: 'stop' }],
      usage: { prompt_tokens: 5, completion_tokens: 4, total_tokens: 9 },
    });
  });

  it('should split each prompt of an array, and echo them as they were sent', async () => {
    const { app, engine } = setUp();
    const response = await post(app, '/v1/completions', { model: 'nano', prompt: [prompt, 'plain'], echo: true });
    expect(engine.requests).toMatchObject([PARTS, { prefix: 'plain', suffix: '' }]);
    expect(await response.json()).toMatchObject({
      choices: [{ text: `${prompt}hello world!` }, { text: 'plainhello world!' }],
    });
  });

  it('should not change the prompt when there is a suffix', async () => {
    const { app, engine } = setUp();
    await post(app, '/v1/completions', { model: 'nano', prompt, suffix: 'x' });
    expect(engine.requests).toMatchObject([{ prefix: prompt, suffix: 'x' }]);
  });

  it('should take the marker of the end of the file for no suffix', async () => {
    const { app, engine } = setUp();
    await post(app, '/v1/completions', { model: 'nano', prompt: 'plain', suffix: '<|endoftext|>' });
    expect(engine.requests).toMatchObject([{ prefix: 'plain', suffix: '' }]);
  });

  it('should read the text before the first marker as context if the prompt ends with the last one', () => {
    const prompt = 'Context:\n\nconst a = 1;\n<|fim_prefix|>f(<|fim_suffix|>);\n<|fim_middle|>';
    expect(splitAtMarkers(prompt)).toEqual({ prefix: 'Context:\n\nconst a = 1;\nf(', suffix: ');\n' });
    expect(splitAtMarkers(`${prompt}more source`)).toBeUndefined();
  });

  it('should read the suffix first if it is first', () => {
    expect(splitAtMarkers('<|fim_suffix|>b<|fim_prefix|>a<|fim_middle|>')).toEqual({ prefix: 'a', suffix: 'b' });
    expect(splitAtMarkers('<fim_suffix>b<fim_prefix>a<fim_middle>c')).toEqual({ prefix: 'ac', suffix: 'b' });
  });
});
