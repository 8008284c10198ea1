/** Many clients that type, each in a file of its own, in the memory of a few whole windows. */

import { readdirSync, readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Completion, Engine, GenerateRequest } from '../../../src/engine/types.ts';
import { run, said } from '../sample-engine.ts';
import { NARROW_TOKENS, NEAR_TOKENS, wideDenoiser, wideEngine, wideTokenizer } from './wide-model.ts';

/** Room for three whole windows of 42 pages, ten near ones of 12, or twenty-one narrow ones of 6. */
const PAGES = 128;
const cacheBytes = PAGES * (await wideDenoiser()).pool.pageBytes;

const source = new URL('../../../src/', import.meta.url);
const files = (readdirSync(source, { recursive: true }) as string[])
  .filter((path) => path.endsWith('.ts'))
  .sort()
  .map((path) => wideTokenizer.encode(readFileSync(new URL(path, source), 'utf8')))
  .filter((tokens) => tokens.length > 1_400);

/** Milliseconds that the clock is ahead of the machine's. */
let aheadMs = 0;
const machineNow = Date.now;

beforeEach(() => {
  aheadMs = 0;
  vi.spyOn(Date, 'now').mockImplementation(() => machineNow() + aheadMs);
});

afterEach(() => {
  vi.restoreAllMocks();
});

/** The next key of a client: a token more than at the one before. */
async function key(engine: Engine, client: number, keys: number, changes: Partial<GenerateRequest> = {}) {
  const tokens = files[client]!;
  const before = tokens.slice(0, 1_100 + keys);
  const { completion } = await run(engine, {
    prefix: wideTokenizer.decode(before),
    prefixTokens: before,
    suffix: wideTokenizer.decode(tokens.slice(1_140, 1_400)),
    maxTokens: 8,
    nearFirst: true,
    ...changes,
  });
  return completion;
}

const readTokens = ({ usage }: Completion) => usage.promptTokens - usage.cachedTokens;
const isNear = ({ usage }: Completion) => usage.promptTokens <= NEAR_TOKENS;
const isNarrow = ({ usage }: Completion) => usage.promptTokens <= NARROW_TOKENS;

/** So many clients press a key in turn, 100 ms apart; the answers of the last round. */
async function rounds(engine: Engine, clients: number, first: number, count: number): Promise<Completion[]> {
  let answers: Completion[] = [];
  for (let keys = first; keys < first + count; keys++) {
    answers = [];
    for (let client = 0; client < clients; client++) {
      answers.push(await key(engine, client, keys));
      await engine.readAhead;
      aheadMs += 100;
    }
  }
  return answers;
}

describe('clients that type in turn', () => {
  it('should each have a whole window where there is room', async () => {
    const engine = await wideEngine(cacheBytes);
    const answers = await rounds(engine, 2, 0, 3);
    expect(answers.map(isNear)).toEqual([false, false]);
    for (const answer of answers) expect(readTokens(answer)).toBeLessThan(10);
  });

  it('should each keep a context, of less where there are more of them', async () => {
    const engine = await wideEngine(cacheBytes);
    const eight = await rounds(engine, 8, 0, 4);
    for (const answer of eight) expect(readTokens(answer)).toBeLessThan(10);
    expect(eight.filter(isNear).length).toBeGreaterThan(5);
    expect(eight.filter(isNarrow)).toEqual([]);

    const eighteen = await rounds(engine, 18, 4, 5);
    for (const answer of eighteen) expect(readTokens(answer)).toBeLessThan(20);
    expect(eighteen.every(isNear)).toBe(true);
    expect(eighteen.some(isNarrow)).toBe(true);
  });

  it('should read their texts once, not at every turn', async () => {
    const engine = await wideEngine(cacheBytes);
    await rounds(engine, 8, 0, 4);
    let read = 0;
    for (let round = 4; round < 12; round++) {
      for (const answer of await rounds(engine, 8, round, 1)) read += readTokens(answer);
    }
    // Of 64 keys: a window moves now and then.
    expect(read / 64).toBeLessThan(40);
  });

  it('should have whole windows again when the others have gone', async () => {
    const engine = await wideEngine(cacheBytes);
    expect((await rounds(engine, 8, 0, 3)).filter(isNear).length).toBeGreaterThan(5);
    aheadMs += 11_000;
    const answers = await rounds(engine, 2, 3, 3);
    expect(answers.map(isNear)).toEqual([false, false]);
    for (const answer of answers) expect(readTokens(answer)).toBeLessThan(10);
  });

  it('should be answered alike for the same state of the cache', async () => {
    const answers = async () => {
      return (await rounds(await wideEngine(cacheBytes), 8, 0, 2)).map(said);
    };
    expect(await answers()).toEqual(await answers());
  });

  it('should be answered from a near window with the bits that it gives alone', async () => {
    const engine = await wideEngine(cacheBytes);
    const eight = await rounds(engine, 8, 0, 3);
    const client = eight.findIndex(isNear);
    // The first key in a text is answered from its near window, if there is nothing else.
    const alone = await key(await wideEngine(cacheBytes), client, 2);
    expect(alone.usage.promptTokens).toBe(eight[client]!.usage.promptTokens);
    expect(said(alone)).toEqual(said(eight[client]!));
  });
});

describe('clients that type at once', () => {
  it('should each get answers from what is kept', async () => {
    const engine = await wideEngine(cacheBytes);
    const keysOf = async (client: number, first: number, count: number) => {
      const answers: Completion[] = [];
      for (let keys = first; keys < first + count; keys++) answers.push(await key(engine, client, keys));
      return answers;
    };
    const all = (first: number, count: number) =>
      Promise.all(Array.from({ length: 18 }, (_, client) => keysOf(client, first, count)));
    await all(0, 3);
    const answers = (await all(3, 6)).flat();
    expect(answers).toHaveLength(18 * 6);
    const read = answers.reduce((sum, answer) => sum + readTokens(answer), 0);
    expect(read / answers.length).toBeLessThan(40);
  });

  it('should leave a request that is not an editor’s its whole window', async () => {
    const engine = await wideEngine(cacheBytes);
    await rounds(engine, 8, 0, 2);
    const { usage } = await key(engine, 9, 0, { nearFirst: false });
    expect(usage.promptTokens).toBeGreaterThan(1_000);
  });
});
