import { describe, expect, it } from 'vitest';
import { withSnippets } from '../../../src/api/dialects/snippets.ts';

describe('withSnippets', () => {
  it('should leave the prefix alone when there is nothing to say', () => {
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
