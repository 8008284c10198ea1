import { describe, expect, it } from 'vitest';
import { createApp } from '../../../src/app.ts';
import { errorOf, eventsOf, post } from '../../support/requests.ts';
import { catalogOf, scriptedEngine } from '../../support/scripted-engine.ts';

const PATH = '/v1/fim/completions';

function setUp() {
  const engine = scriptedEngine();
  return { engine, app: createApp(catalogOf(engine)) };
}

describe('POST /v1/fim/completions', () => {
  it('should put the text where Inception and where Mistral have it', async () => {
    const { app, engine } = setUp();
    const response = await post(app, PATH, { model: 'nano', prompt: 'a', suffix: 'b' });
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({
      object: 'text_completion',
      choices: [
        {
          index: 0,
          text: 'hello world!',
          message: { role: 'assistant', content: 'hello world!' },
          finish_reason: 'stop',
        },
      ],
      usage: { prompt_tokens: 5, completion_tokens: 4, total_tokens: 9 },
    });
    expect(engine.requests[0]).toMatchObject({ prefix: 'a', suffix: 'b' });
  });

  it('should stream the text where both have it', async () => {
    const { app } = setUp();
    const events = await eventsOf<{ choices: object[] }>(
      await post(app, PATH, { model: 'nano', prompt: 'a', suffix: 'b', stream: true }),
    );
    expect(events.map((event) => (event === '[DONE]' ? event : event.choices))).toEqual([
      [{ index: 0, text: 'hello ', delta: { content: 'hello ' }, finish_reason: null }],
      [{ index: 0, text: 'world', delta: { content: 'world' }, finish_reason: null }],
      [{ index: 0, text: '!', delta: { content: '!' }, finish_reason: 'stop' }],
      '[DONE]',
    ]);
  });

  it('should take the seed under the name of Mistral', async () => {
    const { app, engine } = setUp();
    await post(app, PATH, { model: 'nano', prompt: 'a', random_seed: 9 });
    expect(engine.requests[0]?.seed).toBe(9);
  });

  it('should not apply the stops and penalties that Inception has by default', async () => {
    const { app, engine } = setUp();
    await post(app, PATH, { model: 'nano', prompt: 'a' });
    expect(engine.requests[0]?.stop).toEqual([]);
  });

  it('should hand the penalties of Inception to the engine', async () => {
    const { app, engine } = setUp();
    await post(app, PATH, { model: 'nano', prompt: 'a', presence_penalty: 1.5, frequency_penalty: 0 });
    expect(engine.requests[0]).toMatchObject({ presencePenalty: 1.5 });
    expect(engine.requests[0]).not.toHaveProperty('frequencyPenalty');
  });

  it('should refuse a penalty of another kind', async () => {
    const { app } = setUp();
    const response = await post(app, PATH, { model: 'nano', prompt: 'a', repetition_penalty: 1.1 });
    expect(await errorOf(response)).toMatchObject({ status: 400, param: 'repetition_penalty' });
  });

  it('should accept a minimum length of 0 only', async () => {
    const { app } = setUp();
    expect((await post(app, PATH, { model: 'nano', prompt: 'a', min_tokens: 0 })).status).toBe(200);
    const refused = await post(app, PATH, { model: 'nano', prompt: 'a', min_tokens: 2 });
    expect(await errorOf(refused)).toMatchObject({ status: 400, param: 'min_tokens' });
  });
});
