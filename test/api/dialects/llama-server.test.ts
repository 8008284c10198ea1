import { describe, expect, it } from 'vitest';
import { createApp } from '../../../src/app.ts';
import { errorOf, post } from '../../support/requests.ts';
import { catalogOf, helloScript, scriptedEngine } from '../../support/scripted-engine.ts';

function setUp() {
  const engine = scriptedEngine(helloScript);
  const app = createApp(catalogOf(engine));
  return { engine, app, ask: (path: string, body: object) => post(app, path, body) };
}

describe.each(['/completion', '/completions'])('POST %s', (path) => {
  it('should answer in the shape of llama.cpp, the text as the model wrote it', async () => {
    const { ask, engine } = setUp();
    const response = await ask(path, { prompt: 'say ', n_predict: 7, temperature: 0.5, stop: ['\n'], seed: 3 });
    expect(await response.json()).toMatchObject({
      content: 'hello world!',
      stop: true,
      model: 'nano',
      tokens_predicted: 4,
      generation_settings: { n_predict: 7, temperature: 0.5 },
    });
    expect(engine.requests).toMatchObject([{ prefix: 'say ', suffix: '', maxTokens: 7, stop: ['\n'], seed: 3 }]);
  });

  it('should answer several prompts as a list, token ids among them', async () => {
    const { ask, engine } = setUp();
    const texts = await (await ask(path, { prompt: ['a', 'b'] })).json();
    expect(texts).toMatchObject([
      { index: 0, content: 'hello world!' },
      { index: 1, content: 'hello world!' },
    ]);
    await ask(path, { prompt: [104, 105] });
    expect(engine.requests.at(-1)).toMatchObject({ prefix: 'hi', prefixTokens: [104, 105] });
  });

  it('should read markers of fill-in-the-middle', async () => {
    const { ask, engine } = setUp();
    await ask(path, { prompt: '<|fim_prefix|>a<|fim_suffix|>b<|fim_middle|>' });
    expect(engine.requests).toMatchObject([{ prefix: 'a', suffix: 'b' }]);
  });

  it('should stream events, the last with the timings', async () => {
    const { ask } = setUp();
    const events = (await (await ask(path, { prompt: 'a', stream: true })).text()).trimEnd().split('\n\n');
    expect(events.map((event) => JSON.parse(event.replace(/^data: /, '')))).toMatchObject([
      { content: 'hello ', stop: false },
      { content: 'world', stop: false },
      { content: '!', stop: false },
      { content: '', stop: true, timings: { predicted_n: 4 } },
    ]);
  });

  it('should tell the ids of its text, whole where they are asked for and in each chunk', async () => {
    const { ask } = setUp();
    const idsOf = async (response: Response) => {
      const answers = (await response.text()).trimEnd().split('\n\n');
      return answers.map((answer) => JSON.parse(answer.replace(/^data: /, '')).tokens);
    };
    const ids = (text: string) => Array.from(text, (letter) => letter.codePointAt(0));
    expect(await idsOf(await ask(path, { prompt: 'a' }))).toEqual([[]]);
    expect(await idsOf(await ask(path, { prompt: 'a', return_tokens: true }))).toEqual([ids('hello world!')]);
    const chunks = [ids('hello '), ids('world'), ids('!'), []];
    expect(await idsOf(await ask(path, { prompt: 'a', return_tokens: true, stream: true }))).toEqual(chunks);
  });

  it.each([
    ['image_data', { image_data: [{ data: '', id: 1 }] }],
    ['return_tokens', { return_tokens: 'yes' }],
    ['n_probs', { n_probs: 2 }],
    ['prompt', { prompt: 5 }],
    ['n_cmpl', { n_cmpl: 0 }],
    ['n_cmpl', { n: 128, prompt: Array(17).fill('a') }],
    ['logit_bias.7', { logit_bias: [[7, 1]] }],
  ])('should refuse %s by name for %j', async (param, fields) => {
    const { ask, engine } = setUp();
    expect(await errorOf(await ask(path, { prompt: 'a', ...fields }))).toMatchObject({ status: 400, param });
    expect(engine.requests).toEqual([]);
  });
});

describe('tokens', () => {
  it('should be returned for a text, and for a list of texts and ids', async () => {
    const { ask } = setUp();
    expect(await (await ask('/tokenize', { content: 'hi' })).json()).toEqual({ tokens: [104, 105] });
    expect(await (await ask('/tokenize', { content: ['h', 105] })).json()).toEqual({ tokens: [104, 105] });
    expect(await (await ask('/tokenize', {})).json()).toEqual({ tokens: [] });
  });

  it('should come with their pieces, bytes where those are no whole characters', async () => {
    const { ask, engine } = setUp();
    const bytesOf = (id: number) => (id === 104 ? new Uint8Array([0x68]) : new Uint8Array([0xf0, 0x9f]));
    Object.assign(engine, { vocabulary: { ...engine.vocabulary, bytesOf } });
    expect(await (await ask('/tokenize', { content: 'hi', with_pieces: true })).json()).toEqual({
      tokens: [
        { id: 104, piece: 'h' },
        { id: 105, piece: [0xf0, 0x9f] },
      ],
    });
  });

  it('should become text again, the end of one nothing', async () => {
    const { ask } = setUp();
    expect(await (await ask('/detokenize', { tokens: [104, 0, 105] })).json()).toEqual({ content: 'hi' });
  });

  it.each([
    ['/detokenize', 'tokens.1', { tokens: [104, 7] }],
    ['/detokenize', 'tokens.0', { tokens: ['a'] }],
    ['/tokenize', 'content.0', { content: [7] }],
    ['/tokenize', 'content', { content: 5 }],
  ])('should be refused by %s at %s for %j', async (path, param, body) => {
    expect(await errorOf(await setUp().ask(path, body))).toMatchObject({ status: 400, param });
  });
});

describe('what the server is', () => {
  it('should be in /props', async () => {
    expect(await (await setUp().app.request('/props')).json()).toMatchObject({
      default_generation_settings: { n_ctx: 1056, params: { n_predict: 64, temperature: 0 } },
      total_slots: expect.any(Number),
      model_path: 'nano',
      chat_template: '',
    });
  });

  it('should be no server with slots', async () => {
    expect(await errorOf(await setUp().app.request('/slots'))).toMatchObject({
      status: 404,
      message: expect.stringMatching(/no slots/),
    });
  });

  it('should be in /models as in /v1/models', async () => {
    const { app } = setUp();
    expect(await (await app.request('/models')).json()).toEqual(await (await app.request('/v1/models')).json());
  });
});
