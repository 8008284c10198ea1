import { describe, expect, it } from 'vitest';
import { forEditor } from '../../../src/api/editor/editor.ts';
import { showable, showableEnd } from '../../../src/api/editor/showable.ts';
import { helloScript } from '../../support/scripted-engine.ts';

/** A file with the cursor at `█`. */
function at(file: string) {
  const [prefix, suffix] = file.split('█') as [string, string];
  return { prefix, suffix };
}

describe('white space before the cursor that a completion repeats', () => {
  it.each([
    ['const x = █', ' 5;', '5;'],
    ['const x = █', '   5;', '5;'],
    ['return █\n}', ' a + b;', 'a + b;'],
    ['import █from "a";', ' fs ', 'fs '],
    ['f(a, █)', ' b', 'b'],
    ['x = █\n', '\t5', '5'],
    ['def f(a):\n    █', '    return a', 'return a'],
    ['class A:\n    def f(self):\n        █', '        return 1', 'return 1'],
    ['class A:\n    def f(self):\n        █', '    return 1', 'return 1'],
    ['function f() {\n\t█\n}', '\treturn 1;', 'return 1;'],
    ['function f() {\n  const a = 1;\n  █\n}', '  return a;', 'return a;'],
    ['function f() {\n  if (a) {\n    b();\n  }\n  █\n}', '  return a;', 'return a;'],
  ])('should be shown once: %j + %j', (file, text, shown) => {
    expect(showable(text, at(file))).toBe(shown);
  });

  it.each([
    ['a comment', 'x = 1 █', ' # one'],
    ['a comment', 'f(); █', ' // one'],
    ['a string', 'print("a: █', ' 5'],
    ['a template', 'const a = `b: █', ' c`'],
    ['prose', '- item \n  1. █', ' nested'],
    ['a table', '| a | █', '  b |'],
    ['the text of a comment', '// see █', ' below'],
    ['aligned columns', 'const a   = 1;\nconst bcd █', '  = 2;'],
    ['aligned columns below', 'const a █\nconst b     = 1;', '  = 2;'],
    ['a word without a blank before it', 'return█', ' 5;'],
    ['a deeper line', 'def f(a):\n█', '    return a'],
    ['the rest of an indentation', 'def f(a):\n    b()\n\ndef g(a):\n  █', '  return a'],
    ['a block in a block', 'class A:\n    def f(self):\n    █', '    return 1'],
    ['a continued line', 'foo(a,\n    █', '    b)'],
    ['a chain', 'const a = b\n  █', '  .c();'],
    ['the first line of a file', '  █', '  a'],
    ['a new line', 'const x = █', '\n  5;'],
  ])('should be kept where it is meant: %s', (_, file, text) => {
    expect(showable(text, at(file))).toBe(text);
  });

  it('should not hide that the rest is what follows, or repeats the line above', () => {
    expect(showable(' 5;', at('const x = █5;'))).toBe('');
    expect(showable('    b();', at('function a() {\n    b();\n    █\n}'))).toBe('');
  });

  it('should not move the place where an editor would show no more', () => {
    const cursor = at('if (a) {\n    b();\n    █');
    const text = 'c();\n}\nd();\n';
    expect(showableEnd(`    ${text}`, cursor)).toBe(4 + showableEnd(text, cursor)!);
  });

  it('should have no token and no share in the confidence', () => {
    const token = (text: string, logProbability: number) => ({ text, logProbability });
    const tokens = [token(' ', -9), token(' 5', -0.25), token(';', -0.75)];
    const completion = {
      ...helloScript.completion,
      text: '  5;',
      tokens,
      confidence: -3,
      finishReason: 'length' as const,
    };
    expect(forEditor(completion, at('const x = █'), {})).toMatchObject({
      text: '5;',
      tokens: [token('5', -0.25), token(';', -0.75)],
      confidence: -0.5,
      finishReason: 'length',
    });
  });
});
