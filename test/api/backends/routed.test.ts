import { describe, expect, it } from 'vitest';
import { createApp } from '../../../src/app.ts';
import { readBackends } from '../../../src/backend/config.ts';
import { gatewayOf } from '../../../src/backend/gateway.ts';
import { EngineBusy } from '../../../src/engine/errors.ts';
import { ModelUnavailable } from '../../../src/engine/provider.ts';
import { ANSWER, answerJson, type Behaviour, refuse, STREAM, writeEvents } from '../../backend/server.ts';
import { open, quick, tidyUp } from '../../backend/support.ts';
import { errorOf, eventsOf, post } from '../../support/requests.ts';
import { helloScript, providerOf, type Script, scriptedEngine, usage } from '../../support/scripted-engine.ts';

tidyUp();

const COMPLETIONS = '/v1/completions';
const FIM = '/v1/fim/completions';

/** The local model is sure of its answer and saw all of the prompt. */
const sure: Script = {
  ...helloScript,
  completion: { ...helloScript.completion, confidence: -0.1, usage: { ...usage, truncatedTokens: 0 } },
};
const unsure: Script = { ...sure, completion: { ...sure.completion, confidence: -2 } };

async function setUp(script: Script, behave: Behaviour = (response) => answerJson(response)) {
  const server = await open(behave);
  const engine = scriptedEngine(script);
  const settings = { default: true, models: ['large'], retries: 0 };
  const backends = readBackends(JSON.stringify({ big: quick(server.url, settings) }), { BACKEND_KEY: 'k' });
  return { server, engine, app: createApp(providerOf(engine), gatewayOf(backends)) };
}

const routeOf = ({ headers }: Response) =>
  ['backend', 'route', 'attempts'].map((name) => headers.get(`x-quicksilver-${name}`));

describe.each([COMPLETIONS, FIM])('%s by model name', (path) => {
  it('should run the local model here and say so', async () => {
    const { app, server } = await setUp(sure);
    const response = await post(app, path, { model: 'nano', prompt: 'a' });
    expect(routeOf(response)).toEqual(['local', 'model', '1']);
    expect(await response.json()).toMatchObject({ model: 'nano' });
    expect(server.received).toEqual([]);
  });

  it('should pass another name on, with parameters that the local model refuses', async () => {
    const { app, server, engine } = await setUp(sure);
    const body = { model: 'large', prompt: 'a', presence_penalty: 1.5, top_k: 3 };
    const response = await post(app, path, body);
    expect(await response.text()).toBe(ANSWER);
    expect(routeOf(response)).toEqual(['big', 'model', '1']);
    expect(server.received.map(({ path, body }) => [path, JSON.parse(body)])).toEqual([['/v1/completions', body]]);
    expect(engine.requests).toEqual([]);
  });

  it('should pass a stream on byte for byte', async () => {
    const { app } = await setUp(sure, async (response) => {
      await writeEvents(response, STREAM);
      response.end();
    });
    const response = await post(app, path, { model: 'large', prompt: 'a', stream: true });
    expect(await response.text()).toBe(STREAM.join(''));
  });

  it('should answer 404 to a name that nobody has', async () => {
    const app = createApp(providerOf(scriptedEngine(sure)));
    const response = await post(app, path, { model: 'large', prompt: 'a' });
    expect(await errorOf(response)).toMatchObject({ status: 404, param: 'model', code: 'model_not_found' });
  });
});

describe('model: "auto"', () => {
  const request = { model: 'auto', prompt: 'a' };

  it('should be answered by the local model when it is sure', async () => {
    const { app, server } = await setUp(sure);
    const response = await post(app, COMPLETIONS, request);
    expect(routeOf(response)).toEqual(['local', 'auto', '1']);
    expect(await response.json()).toMatchObject({ model: 'nano', choices: [{ text: 'hello world!' }] });
    expect(server.received).toEqual([]);
  });

  it('should stream the steps of a local answer after the decision', async () => {
    const { app } = await setUp(sure);
    const events = await eventsOf<object>(await post(app, COMPLETIONS, { ...request, stream: true }));
    expect(events.map((event) => (event === '[DONE]' ? event : JSON.stringify(event)))).toEqual([
      expect.stringContaining('"text":"hello "'),
      expect.stringContaining('"text":"world"'),
      expect.stringContaining('"text":"!"'),
      '[DONE]',
    ]);
  });

  it.each([
    ['its confidence is low', unsure, {}, 'escalated-confidence'],
    ['the prompt does not fit', helloScript, {}, 'escalated-context'],
    ['more tokens are asked for than it can write', sure, { max_tokens: 257 }, 'escalated-length'],
    [
      'too many requests wait',
      {
        ...sure,
        beforeFrame: () => {
          throw new EngineBusy(9);
        },
      },
      {},
      'escalated-busy',
    ],
  ])('should go to the backend when %s, under the name of its model', async (_, script, fields, route) => {
    const { app, server } = await setUp(script);
    const response = await post(app, FIM, { ...request, ...fields });
    expect(await response.text()).toBe(ANSWER);
    expect(routeOf(response)).toEqual(['big', route, '1']);
    expect(JSON.parse(server.received[0]!.body)).toEqual({ ...request, ...fields, model: 'large' });
  });

  it('should be answered locally when the backend fails, without generating again', async () => {
    const { app, engine } = await setUp(unsure, (response) => refuse(response, 500));
    const response = await post(app, COMPLETIONS, request);
    expect(routeOf(response)).toEqual(['local', 'auto; escalation-failed=big', '2']);
    expect(await response.json()).toMatchObject({ choices: [{ text: 'hello world!' }] });
    expect(engine.requests).toHaveLength(1);
  });

  it('should be answered locally whatever the confidence when there is no backend', async () => {
    const app = createApp(providerOf(scriptedEngine(unsure)));
    const response = await post(app, COMPLETIONS, { ...request, max_tokens: 1000 });
    expect(routeOf(response)).toEqual(['local', 'auto', '1']);
    expect(await response.json()).toMatchObject({ choices: [{ text: 'hello world!' }] });
  });

  it('should have all choices from one model, as the first one decides', async () => {
    let generations = 0;
    const engine = scriptedEngine(sure);
    const growingUnsure = {
      ...engine,
      async *generate(...args: Parameters<typeof engine.generate>) {
        const completion = yield* engine.generate(...args);
        return { ...completion, confidence: generations++ === 0 ? -0.1 : -9 };
      },
    };
    const server = await open((response) => answerJson(response));
    const backends = readBackends(JSON.stringify({ big: quick(server.url, { default: true }) }), { BACKEND_KEY: 'k' });
    const response = await post(createApp(providerOf(growingUnsure), gatewayOf(backends)), COMPLETIONS, {
      ...request,
      n: 3,
    });
    expect(((await response.json()) as { choices: object[] }).choices).toHaveLength(3);
    expect(server.received).toEqual([]);
  });

  it('should go to the backend when the local model is not there, and say what failed if that fails too', async () => {
    const server = await open((response, n) => (n === 1 ? answerJson(response) : refuse(response, 500)));
    const backends = readBackends(JSON.stringify({ big: quick(server.url, { default: true, retries: 0 }) }), {
      BACKEND_KEY: 'k',
    });
    const cause = new Error('no weights');
    const app = createApp(
      { id: 'nano', engine: () => Promise.reject(new ModelUnavailable('nano', 'missing', [], { cause })) },
      gatewayOf(backends),
    );
    const answered = await post(app, COMPLETIONS, request);
    expect(routeOf(answered)).toEqual(['big', 'escalated-unavailable', '1']);
    expect(await errorOf(await post(app, COMPLETIONS, request))).toMatchObject({ status: 502, code: 'backend_error' });
  });

  it('should still have its other fields checked', async () => {
    const { app } = await setUp(sure);
    const response = await post(app, COMPLETIONS, { ...request, temperature: 3 });
    expect(await errorOf(response)).toMatchObject({ status: 400, param: 'temperature' });
  });
});
