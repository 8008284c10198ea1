import { describe, expect, it } from 'vitest';
import { createApp } from '../../../src/app.ts';
import { readBackends } from '../../../src/backend/config.ts';
import { gatewayOf } from '../../../src/backend/gateway.ts';
import { ModelCatalog } from '../../../src/engine/catalog.ts';
import { EngineBusy } from '../../../src/engine/errors.ts';
import type { LogLine } from '../../../src/middleware/observe.ts';
import { ANSWER, answerJson, type Behaviour, refuse, STREAM, writeEvents } from '../../backend/server.ts';
import { open, quick, tidyUp } from '../../backend/support.ts';
import { errorOf, eventsOf, post } from '../../support/requests.ts';
import {
  catalogOf,
  helloScript,
  type Script,
  scriptedEngine,
  unavailableModel,
  usage,
} from '../../support/scripted-engine.ts';

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
  return { server, engine, app: createApp(catalogOf(engine), gatewayOf(backends)) };
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

  it('should answer 404 to an unknown name', async () => {
    const app = createApp(catalogOf(scriptedEngine(sure)));
    const response = await post(app, path, { model: 'large', prompt: 'a' });
    expect(await errorOf(response)).toMatchObject({ status: 404, param: 'model', code: 'model_not_found' });
  });
});

/** A text completion as OpenAI's API has it, written as no serialiser of ours would. */
const completion = (...texts: string[]) =>
  `{ "id":"c", "big":18446744073709551615, "choices": [ ${texts
    .map(
      (text, index) => `{"index":${index}, "text":${JSON.stringify(text)},"logprobs": null, "finish_reason":"length"}`,
    )
    .join(', ')} ] }`;

const textChunk = (text: string, finishReason: string | null = null, index = 0) =>
  `data: ${JSON.stringify({ id: 'c', object: 'text_completion', choices: [{ index, text, finish_reason: finishReason }] })}\n\n`;

const streaming =
  (...events: string[]): Behaviour =>
  async (response) => {
    await writeEvents(response, [...events, 'data: [DONE]\n\n'], 0);
    response.end();
  };

describe('a backend that answers POST /v1/fim/completions', () => {
  const fim = { model: 'large', prompt: 'a', suffix: 'b' };

  it('should be read by the clients of Mistral too, and otherwise be left as it is', async () => {
    const { app } = await setUp(sure, (response) => answerJson(response, completion('é "x"', '')));
    const text = await (await post(app, FIM, fim)).text();
    const added = (content: string) => `,"message":{"role":"assistant","content":${content}}`;
    expect(text).toBe(
      completion('é "x"', '')
        .replace('"é \\"x\\""', `"é \\"x\\""${added('"é \\"x\\""')}`)
        .replace('"text":""', `"text":""${added('""')}`),
    );
  });

  it('should be so in a stream', async () => {
    const { app } = await setUp(sure, streaming(': hi\n\n', textChunk('x'), textChunk('y', 'stop')));
    const events = await (await post(app, FIM, { ...fim, stream: true })).text();
    expect(events).toContain('{"index":0,"text":"x","delta":{"content":"x"},"finish_reason":null}');
    expect(events).toContain('{"index":0,"text":"y","delta":{"content":"y"},"finish_reason":"stop"}');
    expect(events).toMatch(/^: hi\n\ndata: .*data: \[DONE\]\n\n$/s);
  });

  it('should be asked with the seed under the name that it knows', async () => {
    const { app, server } = await setUp(sure, (response) => answerJson(response, completion('x')));
    await post(app, FIM, { ...fim, random_seed: 7 });
    expect(JSON.parse(server.received[0]!.body)).toEqual({ ...fim, seed: 7 });
  });
});

describe.each([COMPLETIONS, FIM])('a bound of %s', (path) => {
  /** A request as no serialiser of ours would write it. */
  const text = (...fields: string[]) =>
    `{${['"model": "large"', '"prompt":"a"', ...fields, '"big":18446744073709551615'].join(',')}}`;

  async function forwarded(body: string) {
    const { app, server } = await setUp(sure);
    const response = await app.request(path, { method: 'POST', body, headers: { 'content-type': 'application/json' } });
    return { response, received: server.received.map((request) => request.body) };
  }

  it.each([
    ['as it is', '"max_tokens" : 4', '"max_tokens" : 4'],
    ['renamed', '"n_predict" : 4', '"max_tokens" : 4'],
    ['renamed', '"num_predict":4', '"max_tokens":4'],
    ['renamed', '"max_new_tokens":4e0', '"max_tokens":4e0'],
    ['renamed', '"max_completion_tokens":0', '"max_tokens":0'],
    ['renamed beside a null', '"max_tokens":null,"n_predict":4', '"max_tokens":4'],
    ['as the smallest', '"n_predict":9,"num_predict":4,"max_new_tokens":null', '"max_tokens":4'],
    ['as the smallest', '"max_tokens":9,"n_predict":4', '"max_tokens":4'],
    ['as the smallest', '"n_predict":9,"max_tokens":4', '"max_tokens":4'],
    ['as the last of its name', '"n_predict":9,"n_predict":4', '"max_tokens":9,"max_tokens":4'],
    ['without what bounds nothing', '"max_tokens":9,"num_predict":-2', '"max_tokens":9'],
  ])('should reach a backend %s: %s', async (_, fields, expected) => {
    expect((await forwarded(text(fields))).received).toEqual([text(expected)]);
  });

  it('should not reach a backend where it bounds nothing', async () => {
    expect((await forwarded(text('"n_predict":-1'))).received).toEqual([text()]);
  });

  it.each(['"4"', '4.5', 'true', '1e400'])('should be refused when another name has %s', async (value) => {
    const { response, received } = await forwarded(text(`"max_completion_tokens":${value}`));
    expect(await errorOf(response)).toMatchObject({ status: 400, param: 'max_completion_tokens' });
    expect(received).toEqual([]);
  });

  it.each(['large', 'auto'])(
    'should be withheld from the backend of %s where only one engine has it',
    async (model) => {
      const { app, server } = await setUp(unsure);
      const own = { t_max_predict_ms: 500, t_max_prompt_ms: 500, id_slot: 0, cache_prompt: true };
      await post(app, path, { model, prompt: 'a', ...own });
      expect(JSON.parse(server.received[0]!.body)).toEqual({ model: 'large', prompt: 'a' });
    },
  );
});

describe('a backend that answers an editor', () => {
  /** The rest of a line: what repeats the suffix, and a further line, are not shown. */
  const editor = { model: 'large', prompt: 'const x = f(', suffix: ');\nnext();\n', editor: true, max_tokens: 8 };

  it('should follow the editor rules, without getting their fields', async () => {
    const { app, server } = await setUp(sure, (response) => answerJson(response, completion('1, 2);\nnext();\nmore')));
    const body = await (await post(app, COMPLETIONS, editor)).text();
    expect(JSON.parse(body)).toMatchObject({ choices: [{ text: '1, 2', finish_reason: 'stop', logprobs: null }] });
    expect(body).toContain('18446744073709551615');
    expect(JSON.parse(server.received[0]!.body)).toEqual({ ...editor, editor: undefined });
  });

  it.each(['\r\n', '\n'])('should get the line ends of its file, which has %j', async (end) => {
    const other = end === '\n' ? '\r\n' : '\n';
    const { app } = await setUp(sure, (response) => answerJson(response, completion(`a();${other}  b();${other}}`)));
    const file = { prompt: `function f() {${end}  `, suffix: `${end}}${end}` };
    const { choices } = (await (await post(app, COMPLETIONS, { ...editor, ...file })).json()) as {
      choices: { text: string }[];
    };
    expect(choices[0]!.text).toBe(`a();${end}  b();`);
  });

  it('should not be shown the repetition that a limit cut', async () => {
    const { app } = await setUp(sure, (response) => answerJson(response, completion('100, 100, 100, 1')));
    const response = await post(app, COMPLETIONS, editor);
    expect(await response.json()).toMatchObject({ choices: [{ text: '' }] });
  });

  it('should be so by the address, for markers in the prompt, and for several prompts and choices', async () => {
    const { app } = await setUp(sure, (response) => answerJson(response, completion('1);', '2);', '3);', '4')));
    const marked = (prefix: string) => `<|fim_prefix|>${prefix}<|fim_suffix|>);\n<|fim_middle|>`;
    const response = await post(app, `${COMPLETIONS}?editor=true`, {
      model: 'large',
      prompt: [marked('f('), marked('g(')],
      n: 2,
    });
    const { choices } = (await response.json()) as { choices: { text: string }[] };
    expect(choices.map(({ text }) => text)).toEqual(['1', '2', '3', '4']);
  });

  it.each([
    ['with its last chunk', [textChunk('1, '), textChunk('2);\n'), textChunk('more', 'length')]],
    ['at its end', [textChunk('1, '), textChunk('2);\nmore')]],
  ])('should be so in a stream, of which the text comes %s', async (_, events) => {
    const { app } = await setUp(sure, streaming(...events));
    const chunks = await eventsOf<{ choices: { text: string; finish_reason: string | null }[] }>(
      await post(app, COMPLETIONS, { ...editor, stream: true }),
    );
    const texts = chunks.map((event) => (event === '[DONE]' ? event : event.choices.map(({ text }) => text).join()));
    expect(texts).toEqual(['1, 2', '[DONE]']);
  });

  it('should be so after the local model has left the request to it', async () => {
    const { app, server } = await setUp(unsure, (response) => answerJson(response, completion('1, 2);\nmore')));
    const local = { min_confidence: 0.1, max_steps: 4, reveal_threshold: 0.5 };
    const response = await post(app, FIM, { ...editor, ...local, model: 'auto' });
    expect(routeOf(response)[1]).toBe('escalated-confidence');
    expect(await response.json()).toMatchObject({ choices: [{ text: '1, 2', message: { content: '1, 2' } }] });
    expect(JSON.parse(server.received[0]!.body)).toEqual({ ...editor, editor: undefined });
  });

  it('should write whole texts where the request wants each chunk to replace the one before', async () => {
    const { app } = await setUp(unsure, streaming(textChunk('a'), textChunk('b'), textChunk('', 'stop')));
    const events = await eventsOf<{ choices: { text: string }[] }>(
      await post(app, COMPLETIONS, { model: 'auto', prompt: 'x', stream: true, diffusing: true }),
    );
    expect(events.map((event) => (event === '[DONE]' ? event : event.choices[0]!.text))).toEqual([
      'a',
      'ab',
      'ab',
      '[DONE]',
    ]);
  });
});

describe('a backend that cannot fill in the middle', () => {
  async function withoutInfill(script: Script, settings: object = {}) {
    const server = await open((response) => answerJson(response));
    const able = await open((response) => answerJson(response));
    const backends = readBackends(
      JSON.stringify({
        big: quick(server.url, { default: true, models: ['large'], infill: false, ...settings }),
        able: quick(able.url, { models: ['able'] }),
      }),
      { BACKEND_KEY: 'k' },
    );
    return { server, able, app: createApp(catalogOf(scriptedEngine(script)), gatewayOf(backends)) };
  }
  const marked = '<fim_prefix>a<fim_suffix>b<fim_middle>';

  it.each([{ prompt: 'a', suffix: 'b' }, { prompt: marked }])('should leave %j to the local model', async (fields) => {
    const { app, server } = await withoutInfill(unsure);
    const response = await post(app, COMPLETIONS, { model: 'auto', ...fields });
    expect(routeOf(response)).toEqual(['local', 'auto', '1']);
    expect(response.status).toBe(200);
    expect(server.received).toEqual([]);
  });

  it('should still be asked what has no suffix', async () => {
    const { app, server } = await withoutInfill(unsure);
    for (const suffix of ['', null, '<|endoftext|>']) {
      expect(routeOf(await post(app, COMPLETIONS, { model: 'auto', prompt: 'a', suffix }))[0]).toBe('big');
      expect(JSON.parse(server.received.at(-1)!.body)).not.toHaveProperty('suffix');
    }
  });

  it.each([COMPLETIONS, FIM])('should be said to be so by %s to who asks for its model', async (path) => {
    const { app, server } = await withoutInfill(sure);
    const error = await errorOf(await post(app, path, { model: 'large', prompt: 'a', suffix: 'b' }));
    expect(error).toMatchObject({ status: 400, param: 'suffix', code: 'unsupported_parameter' });
    expect(server.received).toEqual([]);
  });

  it('should be stood in for by a fallback that can', async () => {
    const { app, able } = await withoutInfill(sure, { fallback: ['able'] });
    const response = await post(app, COMPLETIONS, { model: 'large', prompt: 'a', suffix: 'b' });
    expect(routeOf(response)[0]).toBe('able');
    expect(able.received).toHaveLength(1);
  });
});

describe('the time limit of the service', () => {
  const slow: Behaviour = () => {};

  async function within(limitMs: number, script: Script, behave: Behaviour, more: Record<string, object> = {}) {
    const server = await open(behave);
    const big = quick(server.url, {
      default: true,
      models: ['large'],
      retries: 5,
      breaker_failures: 1,
      fallback: Object.keys(more),
    });
    const backends = readBackends(JSON.stringify({ big, ...more }), { BACKEND_KEY: 'k' });
    const app = createApp(catalogOf(scriptedEngine(script)), gatewayOf(backends), { timeLimitMs: limitMs });
    return { server, app };
  }

  it.each([
    ['does not answer', slow],
    ['asks for a wait', (response) => refuse(response, 429, { 'retry-after': '40' })],
  ] as [string, Behaviour][])('should leave time for the local answer when the backend %s', async (_, behave) => {
    const { app } = await within(2_000, unsure, behave);
    const response = await post(app, COMPLETIONS, { model: 'auto', prompt: 'a' });
    expect(routeOf(response)).toEqual(['local', 'auto; escalation-failed=big', '2']);
    expect(await response.json()).toMatchObject({ choices: [{ text: 'hello world!' }] });
  });

  it('should leave time for the next backend', async () => {
    const second = await open((response) => answerJson(response));
    const { app } = await within(2_000, sure, slow, { second: quick(second.url, { models: ['other'] }) });
    const response = await post(app, COMPLETIONS, { model: 'large', prompt: 'a' });
    expect(await response.text()).toBe(ANSWER);
    expect(routeOf(response)[1]).toBe('model; fallback-from=big');
  });

  it('should not count against the circuit of a backend that was writing', async () => {
    const writing: Behaviour = (response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      const drip = setInterval(() => response.write(textChunk('x')), 5);
      response.on('close', () => clearInterval(drip));
    };
    const { app, server } = await within(1_500, sure, writing);
    for (const _ of [1, 2]) {
      const response = await post(app, COMPLETIONS, { model: 'large', prompt: 'a', stream: true });
      expect(await response.text()).toContain('"code":"backend_timeout"');
    }
    expect(server.received).toHaveLength(2);
  });

  it('should be undercut by a backend that is too slow, which is named then', async () => {
    const { app } = await within(1_000, sure, slow);
    const response = await post(app, COMPLETIONS, { model: 'large', prompt: 'a' });
    expect(await errorOf(response)).toMatchObject({ status: 504, code: 'backend_timeout' });
  });
});

describe('tokens of forwarded answers', () => {
  const usage = {
    prompt_tokens: 30,
    completion_tokens: 7,
    total_tokens: 37,
    prompt_tokens_details: { cached_tokens: 20 },
  };

  it.each([
    ['a whole answer', {}, ((response) => answerJson(response, JSON.stringify({ choices: [], usage }))) as Behaviour],
    [
      'a stream',
      { stream: true },
      streaming(textChunk('x', 'stop'), `data: ${JSON.stringify({ choices: [], usage })}\n\n`),
    ],
  ])('should be counted and logged for %s', async (_, fields, behave) => {
    const server = await open(behave);
    const backends = readBackends(JSON.stringify({ big: quick(server.url, { models: ['large'] }) }), {
      BACKEND_KEY: 'k',
    });
    const lines: LogLine[] = [];
    const app = createApp(catalogOf(scriptedEngine(sure)), gatewayOf(backends), { log: (line) => lines.push(line) });
    await (await post(app, COMPLETIONS, { model: 'large', prompt: 'a', ...fields })).text();
    expect(lines).toMatchObject([{ backend: 'big', prompt_tokens: 30, cached_tokens: 20, completion_tokens: 7 }]);
    const page = await (await app.request('/metrics')).text();
    expect(page).toContain('quicksilver_prompt_tokens_total{backend="big"} 30');
    expect(page).toContain('quicksilver_cached_tokens_total{backend="big"} 20');
    expect(page).toContain('quicksilver_completion_tokens_total{backend="big"} 7');
  });

  it('should be missing where the backend tells none, and a broken stream be an error in log and metrics', async () => {
    const server = await open(async (response) => {
      await writeEvents(response, [textChunk('x')], 5);
      response.destroy();
    });
    const backends = readBackends(JSON.stringify({ big: quick(server.url, { models: ['large'] }) }), {
      BACKEND_KEY: 'k',
    });
    const lines: LogLine[] = [];
    const app = createApp(catalogOf(scriptedEngine(sure)), gatewayOf(backends), { log: (line) => lines.push(line) });
    await (await post(app, COMPLETIONS, { model: 'large', prompt: 'a', stream: true })).text();
    expect(lines).toMatchObject([{ status: 200, backend: 'big', error: 'backend_unreachable' }]);
    expect(lines[0]).not.toHaveProperty('prompt_tokens');
    expect(await (await app.request('/metrics')).text()).toContain('code="backend_unreachable"} 1');
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
    ['that bound has another name', sure, { max_completion_tokens: 257 }, 'escalated-length'],
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
    const { max_completion_tokens, ...rest } = fields as { max_completion_tokens?: number };
    const bound = max_completion_tokens && { max_tokens: max_completion_tokens };
    expect(JSON.parse(server.received[0]!.body)).toEqual({ ...request, ...rest, ...bound, model: 'large' });
  });

  it.each([{ max_tokens: 257, n_predict: 4 }, { num_predict: -1 }])(
    'should be answered locally when the smallest bound is one that it can write: %j',
    async (bounds) => {
      const { app } = await setUp(sure);
      expect(routeOf(await post(app, COMPLETIONS, { ...request, ...bounds }))).toEqual(['local', 'auto', '1']);
    },
  );

  it('should be answered locally when the backend fails, without generating again', async () => {
    const { app, engine } = await setUp(unsure, (response) => refuse(response, 500));
    const response = await post(app, COMPLETIONS, request);
    expect(routeOf(response)).toEqual(['local', 'auto; escalation-failed=big', '2']);
    expect(await response.json()).toMatchObject({ choices: [{ text: 'hello world!' }] });
    expect(engine.requests).toHaveLength(1);
  });

  it('should be answered locally at any confidence when there is no backend', async () => {
    const app = createApp(catalogOf(scriptedEngine(unsure)));
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
    const response = await post(createApp(catalogOf(growingUnsure), gatewayOf(backends)), COMPLETIONS, {
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
    const app = createApp(new ModelCatalog([unavailableModel('nano')]), gatewayOf(backends));
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
