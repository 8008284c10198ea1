/** A text that no context has is answered from what is next to the cursor; the rest is read between requests. */

import { readFileSync } from 'node:fs';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { pause } from '../../../src/engine/pause.ts';
import { Contexts } from '../../../src/engine/three-stream/contexts.ts';
import { ReadAhead } from '../../../src/engine/three-stream/read-ahead.ts';
import type { Engine, GenerateRequest } from '../../../src/engine/types.ts';
import { run, said } from '../sample-engine.ts';
import { wideEngine as load, NEAR_TOKENS, wideTokenizer as tokenizer, wideDenoiser } from './wide-model.ts';

const source = readFileSync(new URL('../../../src/denoiser/three-stream/forward.ts', import.meta.url), 'utf8');
const PREFIX = tokenizer.decode(tokenizer.encode(source).slice(0, 900));
const SUFFIX = tokenizer.decode(tokenizer.encode(source).slice(900, 1100));

async function complete(engine: Engine, changes: Partial<GenerateRequest> = {}) {
  return (await run(engine, { prefix: PREFIX, suffix: SUFFIX, maxTokens: 8, nearFirst: true, ...changes })).completion;
}

const isNear = ({ usage }: { usage: { promptTokens: number } }) => usage.promptTokens <= NEAR_TOKENS;

describe('a text that is not in the cache', () => {
  it('should be answered from the tokens next to the cursor alone', async () => {
    const first = await complete(await load());
    expect(isNear(first)).toBe(true);
    expect(first.usage.truncatedTokens).toBeGreaterThan(600);
    // Another text far from the cursor, of as many tokens.
    const [first100, rest] = [tokenizer.encode(PREFIX).slice(0, 100), tokenizer.encode(PREFIX).slice(100)];
    const prefixTokens = [...first100.toReversed(), ...rest];
    const near = { prefix: tokenizer.decode(prefixTokens), prefixTokens };
    const whole = { prefix: PREFIX, prefixTokens: [...first100, ...rest] };
    expect(said(await complete(await load(), near))).toEqual(said(await complete(await load(), whole)));
  });

  it('should be read as a whole between requests, for an answer with the bits of a whole one', async () => {
    const engine = await load();
    await complete(engine);
    await engine.readAhead;
    const next = await complete(engine, { prefix: `${PREFIX}re` });
    expect(isNear(next)).toBe(false);
    expect(next.usage.promptTokens - next.usage.cachedTokens).toBeLessThan(10);
    expect(said(next)).toEqual(said(await complete(await load(), { prefix: `${PREFIX}re`, nearFirst: false })));
  });

  it('should be answered from the near window again while the rest is being read', async () => {
    const engine = await load();
    await complete(engine);
    const next = await complete(engine, { prefix: `${PREFIX}re` });
    expect(isNear(next)).toBe(true);
    expect(next.usage.promptTokens - next.usage.cachedTokens).toBeLessThan(10);
    await engine.readAhead;
    expect(isNear(await complete(engine, { prefix: `${PREFIX}ret` }))).toBe(false);
  });

  it('should be kept alive by the one request that has begun to read it', async () => {
    const engine = await load();
    const works: Promise<void>[][] = [[], []];
    const keepAlive = (index: number) => (work: Promise<void>) => works[index]!.push(work);
    await complete(engine, { keepAlive: keepAlive(0) });
    await complete(engine, { prefix: `${PREFIX}re`, keepAlive: keepAlive(1) });
    expect(works.map(({ length }) => length)).toEqual([1, 0]);
    await works[0]![0];
    expect(isNear(await complete(engine, { prefix: `${PREFIX}ret` }))).toBe(false);
  });

  it('should be answered alike for the same state of the cache', async () => {
    const answers = async () => {
      const engine = await load();
      const first = said(await complete(engine));
      await engine.readAhead;
      return [first, said(await complete(engine)), said(await complete(engine, { prefix: `${PREFIX}re` }))];
    };
    expect(await answers()).toEqual(await answers());
  });

  it.each<[string, Partial<GenerateRequest>]>([
    ['the request does not allow less', { nearFirst: false }],
    ['nothing is asked for but to read', { maxTokens: 0 }],
    ['the answer may be long', { maxTokens: 129 }],
    ['it is decoded from left to right', { decoding: 'autoregressive', suffix: '' }],
    ['there is little to save', { prefix: PREFIX.slice(-400), suffix: '' }],
  ])('should be read at once where %s', async (_, changes) => {
    const engine = await load();
    const { usage } = await complete(engine, changes);
    expect(usage.truncatedTokens).toBe(0);
    const again = await complete(engine, changes);
    expect(again.usage.promptTokens - again.usage.cachedTokens).toBeLessThan(10);
  });
});

describe('reading ahead', () => {
  afterEach(() => {
    vi.restoreAllMocks();
  });

  async function reader() {
    const denoiser = await wideDenoiser();
    const extend = vi.spyOn(denoiser, 'extend');
    const queue = { length: 0 };
    const { prefix, suffix } = tokenizer.special;
    const prompt = {
      prefix: [prefix, ...tokenizer.encode(PREFIX).slice(0, 100)],
      suffix: [suffix, ...tokenizer.encode(SUFFIX).slice(0, 40)],
      truncatedTokens: 0,
    };
    const contexts = new Contexts(denoiser);
    return { ahead: new ReadAhead(denoiser, contexts, queue), extend, queue, prompt, contexts };
  }

  it('should wait for the requests in the queue, and be interrupted by one after a few tokens', async () => {
    const { ahead, extend, queue, prompt, contexts } = await reader();
    queue.length = 1;
    ahead.want(prompt);
    for (let i = 0; i < 5; i++) await pause(10);
    expect(extend).not.toHaveBeenCalled();

    queue.length = 0;
    while (extend.mock.calls.length < 2) await pause(1);
    queue.length = 1;
    const { length } = extend.mock.calls;
    for (let i = 0; i < 5; i++) await pause(10);
    expect(extend.mock.calls).toHaveLength(length);
    expect(Math.max(...extend.mock.calls.map(([, ids]) => ids.length))).toBeLessThanOrEqual(8);

    queue.length = 0;
    await ahead.finished;
    expect(contexts.prefixes.best(prompt.prefix).matched).toBe(prompt.prefix.length - 1);
    expect(contexts.suffixes.best(prompt.suffix).matched).toBe(prompt.suffix.length);
    // Each token was read once.
    expect(extend.mock.calls.reduce((sum, [, ids]) => sum + ids.length, 0)).toBe(100 + 41);
  });

  it('should read what was wanted last', async () => {
    const { ahead, prompt, contexts } = await reader();
    const other = { ...prompt, prefix: prompt.prefix.toReversed() };
    ahead.want(prompt);
    ahead.want(other);
    await ahead.finished;
    expect(contexts.prefixes.best(other.prefix).matched).toBe(other.prefix.length - 1);
    expect(contexts.prefixes.best(prompt.prefix).matched).toBeLessThan(10);
  });

  it('should be taken over from a request that has stopped for good', async () => {
    const { ahead, extend, queue, prompt } = await reader();
    queue.length = 1;
    ahead.want(prompt);
    const first = ahead.finished;
    const now = Date.now();
    vi.spyOn(Date, 'now').mockReturnValue(now + 2_000);
    ahead.want(prompt);
    expect(ahead.finished).not.toBe(first);
    queue.length = 0;
    await Promise.all([first, ahead.finished]);
    expect(extend.mock.calls.reduce((sum, [, ids]) => sum + ids.length, 0)).toBe(100 + 41);
  });

  it('should stop where others need the room', async () => {
    const { ahead, extend, prompt, contexts } = await reader();
    const hasRoom = vi.spyOn(contexts, 'hasRoomFor');
    hasRoom.mockReturnValueOnce(true).mockReturnValueOnce(true).mockReturnValue(false);
    ahead.want(prompt);
    await ahead.finished;
    expect(extend).toHaveBeenCalledTimes(2);
  });

  it('should give up what could not be begun for long', async () => {
    const { ahead, extend, queue, prompt } = await reader();
    queue.length = 1;
    ahead.want(prompt);
    const now = Date.now();
    vi.spyOn(Date, 'now').mockReturnValue(now + 11_000);
    await ahead.finished;
    queue.length = 0;
    await pause(20);
    expect(extend).not.toHaveBeenCalled();
  });
});
