import { describe, expect, it } from 'vitest';
import { leftContext, withSnippets } from '../../../src/api/dialects/snippets.ts';
import { scriptedEngine } from '../../support/scripted-engine.ts';

describe('withSnippets', () => {
  it('should not change the prefix without snippets', () => {
    expect(withSnippets('a', [])).toBe('a');
    expect(withSnippets('a', [{ path: 'b.py', text: ' \n' }], 'a.py')).toBe('a');
  });

  it.each([
    ['a.py', '# a.py\n'],
    ['src/a.ts', '// src/a.ts\n'],
    ['a.lua', '-- a.lua\n'],
    ['a.HTML', '<!-- a.HTML -->\n'],
    ['Makefile', '// Makefile\n'],
    ['a.constructor', '// a.constructor\n'],
    ['a\nb.py', '# a b.py\n'],
    ['', ''],
    [undefined, ''],
  ])('should head code of %j with %j', (path, heading) => {
    expect(withSnippets('x', [{ path, text: 'y\n' }])).toBe(`${heading}y\n\nx`);
  });

  it('should end with the heading of the file itself', () => {
    expect(withSnippets('x', [{ path: 'a.py', text: 'y' }], 'b.py')).toBe('# a.py\ny\n\n# b.py\nx');
  });
});

describe('leftContext', () => {
  /** Letters are tokens; one is left for what begins a document. */
  const PREFIX_TOKENS = 161;
  const BUDGET = PREFIX_TOKENS - 1;
  const QUARTER = BUDGET / 4;

  function contextOf(prefix: string, ...texts: string[]) {
    const engine = scriptedEngine();
    engine.model.window = { prefixTokens: PREFIX_TOKENS, suffixTokens: 80 };
    return leftContext(
      prefix,
      texts.map((text) => ({ path: 'a.ts', text })),
      engine,
    );
  }

  const lines = (count: number, letter: string) => `${letter.repeat(9)}\n`.repeat(count);

  it('should not change a file without snippets, however long it is', () => {
    const file = lines(100, 'f');
    expect(contextOf(file)).toEqual({ text: file, uncutPrefix: file, cutTokens: 0 });
  });

  it('should have all of both where both fit', () => {
    const all = '// a.ts\nother\n\nfile';
    expect(contextOf('file', 'other')).toEqual({ text: all, uncutPrefix: all, cutTokens: 0 });
  });

  it('should keep a share of the context for snippets, however long the file is', () => {
    const { text, uncutPrefix, cutTokens } = contextOf(lines(100, 'f'), lines(20, 'o'));
    expect(uncutPrefix).toBe(`// a.ts\n${lines(20, 'o')}\n${lines(100, 'f')}`);
    const snippets = text.slice(0, text.indexOf('f'));
    expect(snippets.match(/o{9}\n/g)!.length).toBeGreaterThanOrEqual(3);
    expect(snippets.length).toBeLessThanOrEqual(QUARTER);
    expect(text.length).toBeLessThanOrEqual(BUDGET);
    expect(text.slice(snippets.length)).toMatch(/^(f{9}\n){8,}$/);
    expect(cutTokens).toBeGreaterThan(0);
  });

  it('should give snippets what the file leaves', () => {
    const { text } = contextOf('file', lines(100, 'o'));
    expect(text.endsWith('\nfile')).toBe(true);
    expect(text.length).toBeGreaterThan(BUDGET * 0.75);
    expect(text.length).toBeLessThanOrEqual(BUDGET);
  });

  it('should keep the last snippet longest', () => {
    const { text } = contextOf(lines(100, 'f'), lines(10, 'o'), 'nearest');
    expect(text).toContain('nearest');
  });

  it('should begin alike for key after key, so that what was read can be reused', () => {
    const typed = Array.from(
      { length: 100 },
      (_, at) => contextOf(lines(30, 'f') + 'x'.repeat(at), lines(20, 'o')).text,
    );
    const moves = typed.filter((text, at) => at > 0 && !text.startsWith(typed[at - 1]!));
    expect(moves.length).toBeLessThanOrEqual(100 / (BUDGET / 8) + 1);
  });
});
