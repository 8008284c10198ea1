import { describe, expect, it } from 'vitest';
import { lineEndOf } from '../../../src/api/completion/line-ends.ts';
import { createApp } from '../../../src/app.ts';
import { eventsOf, post } from '../../support/requests.ts';
import { catalogOf, helloScript, scriptedEngine } from '../../support/scripted-engine.ts';

const PREFIX = 'def add(a, b):\n    """Adds."""\n    ';
const SUFFIX = '\n\ndef sub(a, b):\n    return a - b\n';
const TEXT = 'if a:\n        return a\n    return b';
const TOKENS = ['if a:', '\n', '        return a', '\n    ', 'return b'];

function setUp() {
  const engine = scriptedEngine({
    frames: [
      { text: 'if a:\n return', settled: 'if a:\n' },
      { text: TEXT, settled: 'if a:\n        return a' },
    ],
    completion: {
      ...helloScript.completion,
      text: TEXT,
      ending: { by: 'stop', stop: '\n\n' },
      tokens: TOKENS.map((text) => ({
        text,
        logProbability: -0.1,
        alternatives: [
          { name: text, logProbability: -0.1 },
          { name: 'x\n', logProbability: -3 },
        ],
      })),
    },
  });
  return { engine, app: createApp(catalogOf(engine)) };
}

/** How each dialect asks for the text between two others, with a stop string; and reads it. */
const DIALECTS: Record<
  string,
  { path: string; body: (prefix: string, suffix: string, stop: string) => object; text: (answer: never) => string }
> = {
  OpenAI: {
    path: '/v1/completions',
    body: (prompt, suffix, stop) => ({ model: 'nano', prompt, suffix, stop }),
    text: ({ choices }: { choices: { text: string }[] }) => choices[0]!.text,
  },
  'OpenAI, for an editor': {
    path: '/v1/completions?editor=true',
    body: (prompt, suffix, stop) => ({ model: 'nano', prompt, suffix, stop }),
    text: ({ choices }: { choices: { text: string }[] }) => choices[0]!.text,
  },
  'OpenAI, with markers': {
    path: '/v1/completions',
    body: (prefix, suffix, stop) => ({
      model: 'nano',
      prompt: `<|fim_prefix|>${prefix}<|fim_suffix|>${suffix}<|fim_middle|>`,
      stop,
    }),
    text: ({ choices }: { choices: { text: string }[] }) => choices[0]!.text,
  },
  DeepSeek: {
    path: '/beta/completions',
    body: (prompt, suffix, stop) => ({ model: 'nano', prompt, suffix, stop }),
    text: ({ choices }: { choices: { text: string }[] }) => choices[0]!.text,
  },
  Mistral: {
    path: '/v1/fim/completions',
    body: (prompt, suffix, stop) => ({ model: 'nano', prompt, suffix, stop }),
    text: ({ choices }: { choices: { message: { content: string } }[] }) => choices[0]!.message.content,
  },
  'llama.cpp': {
    path: '/infill',
    body: (input_prefix, input_suffix, stop) => ({
      input_prefix,
      input_suffix,
      stop,
      input_extra: [{ text: 'a\nb\nc\nd\n'.repeat(20), filename: 'other.py' }],
    }),
    text: ({ content }: { content: string }) => content,
  },
  Ollama: {
    path: '/api/generate',
    body: (prompt, suffix, stop) => ({ model: 'nano', prompt, suffix, stream: false, options: { stop } }),
    text: ({ response }: { response: string }) => response,
  },
  Tabby: {
    path: '/v1/completions',
    body: (prefix, suffix) => ({ segments: { prefix, suffix } }),
    text: ({ choices }: { choices: { text: string }[] }) => choices[0]!.text,
  },
};

const inEnds = (text: string, end: string) => text.replaceAll('\n', end);

describe.each(Object.entries(DIALECTS))('%s', (_, { path, body, text }) => {
  it.each([
    ['\\n', '\n'],
    ['\\r\\n', '\r\n'],
    ['\\r', '\r'],
  ])('should read a file with %s as any other, and answer in its line ends', async (_, end) => {
    const { app, engine } = setUp();
    const response = await post(app, path, body(inEnds(PREFIX, end), inEnds(SUFFIX, end), inEnds('\n\n', end)));
    expect(text((await response.json()) as never)).toBe(inEnds(TEXT, end));
    const plain = setUp();
    await post(plain.app, path, body(PREFIX, SUFFIX, '\n\n'));
    const { seed: _seed, ends: _ends, ...asked } = engine.requests[0]!;
    const { seed: _otherSeed, ends: _otherEnds, ...expected } = plain.engine.requests[0]!;
    expect(asked).toEqual(expected);
    expect(asked.prefix.endsWith(PREFIX)).toBe(true);
    expect(asked.suffix).toBe(SUFFIX);
    if (path !== '/v1/completions' || 'prompt' in body('', '', '')) expect(asked.stop).toEqual(['\n\n']);
  });
});

describe('line ends of an answer', () => {
  const ask = (fields: object) =>
    post(setUp().app, '/v1/completions', { model: 'nano', prompt: 'a\r\nb\r\n', ...fields });

  it('should be whole in a stream', async () => {
    const events = await eventsOf<{ choices: { text: string }[] }>(await ask({ stream: true }));
    const texts = events.flatMap((event) => (event === '[DONE]' ? [] : event.choices.map((choice) => choice.text)));
    expect(texts.join('')).toBe(inEnds(TEXT, '\r\n'));
    for (const text of texts) expect(text).not.toMatch(/\r$|^\n/);
  });

  it('should be those of the file in frames', async () => {
    const events = await eventsOf<{ choices: { text: string }[] }>(await ask({ stream: true, diffusing: true }));
    expect(events[0]).toMatchObject({ choices: [{ text: 'if a:\r\n return' }] });
  });

  it('should follow a prompt that is echoed as it was sent', async () => {
    const body = await (await ask({ prompt: 'a\rb\r\nc\nd\r\n', echo: true })).json();
    expect(body).toMatchObject({ choices: [{ text: `a\rb\r\nc\nd\r\n${inEnds(TEXT, '\r\n')}` }] });
  });

  it('should be in tokens, in what could have stood there, and in offsets', async () => {
    const body = await (await ask({ logprobs: 2, stop: '\n\n' })).json();
    const tokens = TOKENS.map((text) => inEnds(text, '\r\n'));
    expect(body).toMatchObject({
      choices: [{ logprobs: { tokens, text_offset: [0, 5, 7, 23, 29] }, stop_reason: '\n\n' }],
    });
    const { choices } = body as { choices: [{ logprobs: { top_logprobs: Record<string, number>[] } }] };
    expect(choices[0].logprobs.top_logprobs.map(Object.keys)).toEqual(tokens.map((token) => [token, 'x\r\n']));
  });

  it('should be read in prompts of token ids too', async () => {
    const { app, engine } = setUp();
    await post(app, '/v1/completions', { model: 'nano', prompt: [97, 98] });
    expect(engine.requests[0]).toMatchObject({ prefix: 'ab', prefixTokens: [97, 98] });
  });

  it.each([
    ['', '', '\n'],
    ['a', 'b', '\n'],
    ['a\r\nb\r\nc\n', '', '\r\n'],
    ['a\nb\nc\r\n', '', '\n'],
    ['a\r\n', '\nb', '\r\n'],
    ['a\n', '\r\nb', '\n'],
    ['a', '\r\nb\n', '\r\n'],
    ['a\rb\r', '\n', '\r'],
    ['a\r', '\nb', '\r\n'],
    ['a\r\nb\r', '\nc', '\r\n'],
  ])('should be the most frequent ones, then the nearest before the cursor: %j %j', (prefix, suffix, end) => {
    expect(lineEndOf({ prefix, suffix })).toBe(end);
  });

  it('should not be cut in two by the cursor', async () => {
    const { app, engine } = setUp();
    await post(app, '/infill', { input_prefix: 'a\r\nb\r', input_suffix: '\nc\r\n' });
    expect(engine.requests[0]).toMatchObject({ prefix: 'a\nb', suffix: '\nc\n' });
  });

  it('should leave no half of a character in what is read', async () => {
    const { app, engine } = setUp();
    await post(app, '/infill', { input_prefix: 'a\ud83d', input_suffix: '\ude00' });
    expect(engine.requests[0]).toMatchObject({ prefix: 'a\ufffd', suffix: '\ufffd' });
  });
});
