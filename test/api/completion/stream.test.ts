import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it, vi } from 'vitest';
import { createApp } from '../../../src/app.ts';
import { errorOf, eventsOf, post } from '../../support/requests.ts';
import { catalogOf, helloScript, type Script, scriptedEngine } from '../../support/scripted-engine.ts';

const PATH = '/v1/completions';

interface Chunk {
  id: string;
  object: string;
  choices: { text: string; index: number; finish_reason: string | null }[];
  usage?: object | null;
  error?: object;
}

function setUp(script: Script = helloScript) {
  const engine = scriptedEngine(script);
  const app = createApp(catalogOf(engine));
  const stream = (fields: object = {}, init: RequestInit = {}) =>
    post(app, PATH, { model: 'nano', prompt: 'say ', stream: true, ...fields }, init);
  return { engine, stream };
}

/** The choices of each event; `[DONE]` and others are unchanged. */
const choicesOf = (events: (Chunk | '[DONE]')[]) =>
  events.map((event) => (event === '[DONE]' ? event : event.choices.map((choice) => [choice.index, choice.text])));

describe('a stream', () => {
  it('should send what each step settled, then [DONE]', async () => {
    const { stream } = setUp();
    const response = await stream();
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toMatch(/^text\/event-stream/);
    expect(response.headers.get('cache-control')).toContain('no-cache');
    expect(response.headers.get('x-request-id')).toBeTruthy();
    const events = await eventsOf<Chunk>(response);
    const header = { id: expect.stringMatching(/^cmpl-/), object: 'text_completion', created: expect.any(Number) };
    const choice = { index: 0, logprobs: null, finish_reason: null };
    expect(events).toEqual([
      { ...header, model: 'nano', choices: [{ ...choice, text: 'hello ' }] },
      { ...header, model: 'nano', choices: [{ ...choice, text: 'world' }] },
      { ...header, model: 'nano', choices: [{ ...choice, text: '!', finish_reason: 'stop' }] },
      '[DONE]',
    ]);
    expect(new Set(events.slice(0, -1).map((event) => (event as Chunk).id)).size).toBe(1);
  });

  it('should leave out steps that settle nothing', async () => {
    const frames = [
      { text: 'x', settled: '' },
      { text: 'hello', settled: 'hello' },
      { text: 'hello', settled: 'hello' },
    ];
    const { stream } = setUp({ ...helloScript, frames });
    expect(choicesOf(await eventsOf<Chunk>(await stream()))).toEqual([[[0, 'hello']], [[0, ' world!']], '[DONE]']);
  });

  it('should send the whole canvas at each step when diffusing', async () => {
    const { stream } = setUp();
    expect(choicesOf(await eventsOf<Chunk>(await stream({ diffusing: true })))).toEqual([
      [[0, 'hello ld']],
      [[0, 'hello world']],
      [[0, 'hello world!']],
      '[DONE]',
    ]);
  });

  it('should send the slots of the canvas at each step when asked for the canvas', async () => {
    const slots = [{ state: 'token', change: 'reveal', text: 'hello', confidence: 0.5 }] as const;
    const frames = helloScript.frames.map((frame, index) => ({
      ...frame,
      canvas: { step: index + 1, block: 0, cpuMs: 1.5, slots },
    }));
    const { stream, engine } = setUp({ ...helloScript, frames });
    const events = await eventsOf<Chunk>(await stream({ diffusing: 'canvas', canvas_width: 8 }));
    expect(engine.requests).toMatchObject([{ showCanvas: true, canvasWidth: 8 }]);
    expect(events).toMatchObject([
      { choices: [{ text: 'hello ld', canvas: { step: 1, block: 0, cpu_ms: 1.5, slots } }] },
      { choices: [{ text: 'hello world', canvas: { step: 2 } }] },
      { choices: [{ text: 'hello world!', finish_reason: 'stop' }] },
      '[DONE]',
    ]);
    expect((events.at(-2) as Chunk).choices[0]).not.toHaveProperty('canvas');
  });

  it('should end with an event that only has the usage if requested', async () => {
    const { stream } = setUp();
    const events = await eventsOf<Chunk>(await stream({ stream_options: { include_usage: true } }));
    expect(events.at(-1)).toBe('[DONE]');
    expect(events.at(-2)).toMatchObject({ choices: [], usage: { prompt_tokens: 5, completion_tokens: 4 } });
    expect(events.slice(0, -2).map((event) => (event as Chunk).usage)).toEqual([null, null, null]);
  });

  it('should send no usage unless asked', async () => {
    const { stream } = setUp();
    const events = await eventsOf<Chunk>(await stream());
    expect(events.some((event) => event !== '[DONE]' && 'usage' in event)).toBe(false);
  });

  it('should send the prompt first when asked to echo', async () => {
    const { stream } = setUp();
    const events = choicesOf(await eventsOf<Chunk>(await stream({ echo: true })));
    expect(events[0]).toEqual([[0, 'say hello ']]);
    const diffusing = choicesOf(await eventsOf<Chunk>(await stream({ echo: true, diffusing: true })));
    expect(diffusing.at(-2)).toEqual([[0, 'say hello world!']]);
  });

  it('should stream choices one after the other, each from its start', async () => {
    const { stream } = setUp();
    const events = choicesOf(await eventsOf<Chunk>(await stream({ n: 2 })));
    const texts = ['hello ', 'world', '!'];
    expect(events).toEqual([...texts.map((text) => [[0, text]]), ...texts.map((text) => [[1, text]]), '[DONE]']);
  });

  it('should end with an error event and no [DONE] when the engine fails on the way', async () => {
    const log = vi.spyOn(console, 'error').mockImplementation(() => {});
    const { stream } = setUp({
      ...helloScript,
      beforeFrame: (frame) => {
        if (frame === 1) throw new Error('secret detail');
      },
    });
    const response = await stream();
    expect(response.status).toBe(200);
    const events = await eventsOf<Chunk>(response);
    expect(events).toHaveLength(2);
    expect(events[1]).toEqual({
      error: { message: expect.any(String), type: 'server_error', param: null, code: 'internal_error' },
    });
    expect(JSON.stringify(events)).not.toContain('secret detail');
    expect(log).toHaveBeenCalledOnce();
    log.mockRestore();
  });

  it('should answer with a status when the engine fails before the first frame', async () => {
    const log = vi.spyOn(console, 'error').mockImplementation(() => {});
    const { stream } = setUp({
      ...helloScript,
      beforeFrame: () => {
        throw new Error('secret detail');
      },
    });
    const error = await errorOf(await stream());
    expect(error).toMatchObject({ status: 500, type: 'server_error' });
    expect(error.message).not.toContain('secret');
    log.mockRestore();
  });

  it('should abort the engine when the reader cancels', async () => {
    const { engine, stream } = setUp({ ...helloScript, beforeFrame: waitBeforeSecond });
    const reader = (await stream()).body!.getReader();
    expect(new TextDecoder().decode((await reader.read()).value)).toContain('hello ');
    await reader.cancel();
    await vi.waitFor(() => expect(engine.endings).toEqual(['aborted']));
  });

  it('should abort the engine when the request is aborted, between frames', async () => {
    const { engine, stream } = setUp({ ...helloScript, beforeFrame: waitBeforeSecond });
    const client = new AbortController();
    const reader = (await stream({}, { signal: client.signal })).body!.getReader();
    await reader.read();
    client.abort();
    await vi.waitFor(() => expect(engine.endings).toEqual(['aborted']));
    expect((await reader.read()).done).toBe(true);
  });

  it('should not compute further choices after an abort', async () => {
    const { engine, stream } = setUp({ ...helloScript, beforeFrame: waitBeforeSecond });
    const client = new AbortController();
    await stream({ n: 4 }, { signal: client.signal });
    client.abort();
    await vi.waitFor(() => expect(engine.endings).toEqual(['aborted']));
    expect(engine.requests).toHaveLength(1);
  });

  it('should not hold the engine for a reader that does not read', async () => {
    const { engine, stream } = setUp();
    await stream();
    await vi.waitFor(() => expect(engine.endings).toEqual(['completed']));
  });
});

it('should abort the engine when a request without a stream is aborted', async () => {
  const { engine, stream } = setUp({ ...helloScript, beforeFrame: waitBeforeSecond });
  const client = new AbortController();
  const answer = stream({ stream: false }, { signal: client.signal });
  await vi.waitFor(() => expect(engine.requests).toHaveLength(1));
  client.abort();
  await answer;
  expect(engine.endings).toEqual(['aborted']);
});

/** The second frame never comes unless the generation is aborted. */
function waitBeforeSecond(frame: number, signal: AbortSignal): Promise<void> {
  if (frame === 0) return Promise.resolve();
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve());
  });
}

describe('a stream that is slow', () => {
  /** The first step waits until the test lets it go on. */
  function held(script: Partial<Script> = {}) {
    const { promise, resolve } = Promise.withResolvers<void>();
    const beforeFrame = (frame: number) => (frame === 0 ? promise : undefined);
    return { ...setUp({ ...helloScript, beforeFrame, ...script }), goOn: resolve };
  }

  const failLate = async () => {
    await sleep(300);
    throw new Error('late');
  };

  it('should begin before its first step has ended, and say that it is alive', async () => {
    const { stream, goOn } = held();
    const response = await stream();
    expect(response.status).toBe(200);
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
    expect((await reader.read()).value).toBe(':\n\n');
    goOn();
    let rest = '';
    for (let part = await reader.read(); !part.done; part = await reader.read()) rest += part.value;
    expect(rest).toMatch(/^(:\n\n)*data: \{.*"hello "/);
    expect(rest).toMatch(/data: \[DONE\]\n\n$/);
  });

  it('should stop the engine when its reader goes before the first step has ended', async () => {
    const { stream, engine, goOn } = held();
    const response = await stream();
    await response.body!.cancel();
    goOn();
    await vi.waitFor(() => expect(engine.endings).toEqual(['aborted']));
  });

  it('should end with the error of a step that fails late', async () => {
    const { stream } = setUp({ ...helloScript, beforeFrame: failLate });
    const response = await stream();
    expect(response.status).toBe(200);
    expect(await eventsOf<Chunk>(response)).toMatchObject([{ error: { code: 'internal_error' } }]);
  });

  it('should not begin where its first step decides who answers', async () => {
    const engine = { ...scriptedEngine({ ...helloScript, beforeFrame: failLate }), decidesLate: true };
    const response = await post(createApp(catalogOf(engine)), PATH, { model: 'nano', prompt: 'a', stream: true });
    expect(response.status).toBe(500);
  });
});
