/** What outlives a request keeps no whole texts of requests alive: an isolate has some MiB for its objects. */
import { readFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { OpenRequests } from '../src/api/completion/open-requests.ts';
import { detachedText } from '../src/detached-text.ts';
import { CompletionCache } from '../src/engine/completion-cache.ts';
import { loadTokenizer } from '../src/tokenizer/tokenizer.ts';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

const TEXTS = 40;
/** Node keeps longer ones outside its heap. */
const TEXT_MIB = 0.5;
const MIB = 2 ** 20;
/** What half of the texts would take. */
const MOST_MIB = (TEXTS * TEXT_MIB) / 2;

/** A text with a word that no other one has. */
function bigText(index: number): string {
  return Buffer.from(
    `const identifierOfThisText${'q'.repeat(index + 1)} = 1;\n`.padEnd(TEXT_MIB * MIB, 'let a = b;\n'),
  ).toString();
}

/** MiB that the heap has gained after `keep` has been called with all texts. */
function growthOf(keep: (text: string) => void): number {
  collectGarbage();
  const before = process.memoryUsage().heapUsed;
  for (let index = 0; index < TEXTS; index++) keep(bigText(index));
  collectGarbage();
  return (process.memoryUsage().heapUsed - before) / MIB;
}

describe('a detached text', () => {
  it.each(['', 'a', 'ünï', '\ud800 alone', '\u2028"\\\n', '🙂'.repeat(9)])('should equal the text %j', (text) => {
    expect(detachedText(text)).toBe(text);
  });

  it('should not keep the text that it was cut from', () => {
    const kept: string[] = [];
    const growth = growthOf((text) => kept.push(detachedText(text.slice(10, 40))));
    expect(kept).toHaveLength(TEXTS);
    expect(growth).toBeLessThan(MOST_MIB);
  });
});

describe('what outlives a request', () => {
  it('should keep words of a text without the text', () => {
    const tokenizer = loadTokenizer(JSON.parse(readFileSync('models/nano/tokenizer.json', 'utf8')));
    expect(growthOf((text) => tokenizer.encode(text))).toBeLessThan(MOST_MIB);
    expect(tokenizer.encode('a')).toHaveLength(1);
  });

  it('should keep the places of open requests without their texts', () => {
    const requests = new OpenRequests();
    const growth = growthOf((text) => requests.enter('a', { prefix: text, suffix: text }));
    expect(growth).toBeLessThan(MOST_MIB);
    expect(requests.enter('a', { prefix: 'b', suffix: '' }).isReplaced).toBe(false);
  });

  it('should keep completions without the texts that their prompts were cut from', () => {
    const cache = new CompletionCache();
    const completion = {
      text: 'abc',
      tokens: [{ text: 'abc' }],
      finishReason: 'stop',
    } as unknown as Parameters<typeof cache.store>[1];
    const growth = growthOf((text) => {
      const request = { prefix: text.slice(-1000), suffix: text.slice(0, 1000), temperature: 0, reuse: true };
      cache.store(request as Parameters<typeof cache.store>[0], completion);
    });
    expect(growth).toBeLessThan(MOST_MIB);
  });
});
