import { describe, expect, it } from 'vitest';
import type { Cursor } from '../../../src/api/editor/lines.ts';
import { isWellFormed } from '../../../src/api/editor/overlap.ts';
import { showable, showableEnd } from '../../../src/api/editor/showable.ts';

/** A file with the cursor at `█`. */
function at(file: string): Cursor {
  const [prefix, suffix] = file.split('█') as [string, string];
  return { prefix, suffix };
}

const PYTHON = at(`import json
from pathlib import Path

def read_manifest(path: Path) -> dict:
    with path.open() as file:
        █

def main() -> None:
    print(read_manifest(Path('manifest.json')))
`);

const TYPESCRIPT = at(`export class Counter {
  #count = 0;

  increment(by = 1): number {
    █
  }

  reset(): void {
    this.#count = 0;
  }
}
`);

const GO = at(`package main

func max(values []int) int {
\tbest := values[0]
\tfor _, value := range values {
█
\t}
\treturn best
}
`);

describe('what an editor shows', () => {
  it.each([
    ['a whole line', PYTHON, 'return json.load(file)'],
    ['several lines', TYPESCRIPT, 'this.#count += by;\n    return this.#count;'],
    ['a block with tabs', GO, '\t\tif value > best {\n\t\t\tbest = value\n\t\t}'],
  ])('should leave %s as it is', (_, cursor, text) => {
    expect(showable(text, cursor)).toBe(text);
  });

  it.each(['', '\n', '   ', '\n\n    \n', '\t'])('should show nothing for the blank %j', (text) => {
    expect(showable(text, PYTHON)).toBe('');
  });

  it('should drop blank lines and spaces at the end', () => {
    expect(showable('return json.load(file)  \n\n\n', PYTHON)).toBe('return json.load(file)');
  });
});

describe('text after the cursor', () => {
  it('should allow one line only', () => {
    const cursor = at('const names = users.map((user) => █);\n');
    expect(showable('user.name\nconst ages = 1', cursor)).toBe('user.name');
  });

  it('should show nothing when the first line is empty', () => {
    expect(showable('\n  return 1;', at('return (█);'))).toBe('');
  });

  it('should keep the spaces before it', () => {
    expect(showable('left + ', at('const sum = █right;'))).toBe('left + ');
  });

  it.each([
    ['console.log(█);', "'done');", "'done'"],
    ['console.log(█);', "'done'); // said", "'done'"],
    ['print("█")', 'hello")', 'hello'],
    ["if (name === 'a█') {", "bc') {", 'bc'],
    ['const { a, █} = options;', 'b } = options;', 'b '],
    ['const total█ = 5;', 'Price = 5;', 'Price'],
    ['items[█]', 'index]', 'index'],
  ])('should not be repeated: %s', (file, text, shown) => {
    expect(showable(text, at(file))).toBe(shown);
  });

  it.each([
    ['print(max(█)', 'a, b)'],
    ['foo(bar(█))', 'baz(1)'],
    ['  } else if (isLast(█) {', 'node)'],
    ['const s█', "= 'it is'"],
    ['user█e', 'nam'],
    ['the█n', 'n'],
  ])('should not cost a character that both need: %s', (file, text) => {
    expect(showable(text, at(file))).toBe(text);
  });
});

describe('lines below the cursor', () => {
  it('should not be repeated when they close the block', () => {
    expect(showable('this.#count += by;\n    return this.#count;\n  }', TYPESCRIPT)).toBe(
      'this.#count += by;\n    return this.#count;',
    );
  });

  it('should not be repeated in part, when the completion ends in one', () => {
    const text = 'return json.load(file)\n\ndef main() -> None:\n    print(read_man';
    expect(showable(text, PYTHON)).toBe('return json.load(file)');
  });

  it('should not be repeated by the first line of the completion', () => {
    expect(showable('return best', at('best = 1\n█\nreturn best\n'))).toBe('');
  });

  it('should not cut a line that only looks like the next one', () => {
    const cursor = at('def sign(x):\n    █\n    return 0\n');
    const text = 'if x > 0:\n        return 1\n    if x < 0:\n        return -1';
    expect(showable(text, cursor)).toBe(text);
  });
});

describe('the scope', () => {
  it('should end where the indentation falls below that of the cursor', () => {
    expect(showable('return json.load(file)\n\ndef write(path):\n    pass', PYTHON)).toBe('return json.load(file)');
  });

  it('should end with the block that the line of the cursor opens', () => {
    const cursor = at('class Stack:\n    def __init__(self):\n        self.items = []\n\n    def push(self, item)█\n');
    const text = ':\n        self.items.append(item)\n\n    def pop(self):\n        return self.items.pop()';
    expect(showable(text, cursor)).toBe(':\n        self.items.append(item)');
  });

  it('should include the bracket that closes the block, and nothing after it', () => {
    const cursor = at('export function add(a: number, b: number)█');
    const text = ': number {\n  return a + b;\n}\n\nexport function sub() {\n  return 0;\n}';
    expect(showable(text, cursor)).toBe(': number {\n  return a + b;\n}');
  });

  it('should take in the further branches of a statement', () => {
    const cursor = at('def sign(x):\n    if x > 0█\n');
    const text = ':\n        return 1\n    elif x < 0:\n        return -1\n    else:\n        return 0\n    print(x)';
    expect(showable(text, cursor)).toBe(text.slice(0, text.lastIndexOf('\n')));
  });

  it('should continue after the bracket when it opens again', () => {
    const cursor = at('function f(a) {\n  if (a)█\n}\n');
    const text = ' {\n    g();\n  } else {\n    h();\n  }\n  i();';
    expect(showable(text, cursor)).toBe(' {\n    g();\n  } else {\n    h();\n  }');
  });

  it('should let statements at the indentation of the cursor follow', () => {
    const cursor = at('function f() {\n  const a = 1;\n  █\n}\n');
    const text = 'if (a > 0) {\n    g(a);\n  }';
    expect(showable(text, cursor)).toBe(text);
    expect(showable('const b = 2;\n  const c = a + b;\n  return c;', cursor)).toContain('return c;');
  });

  it('should close the block of the cursor when nothing below does', () => {
    const cursor = at('class A {\n  f() {\n    █\n}\n');
    expect(showable('g();\n  }\n\n  h() {', cursor)).toBe('g();\n  }');
    expect(showable('return 1\nend\nputs 2', at('def one\n  █'))).toBe('return 1\nend');
  });

  it('should end at a blank line at the top level', () => {
    expect(showable('x = 1\ny = 2\n\nz = 3', at('import os\n\n█'))).toBe('x = 1\ny = 2');
  });
});

describe('repetition', () => {
  it('should not repeat the line above', () => {
    expect(
      showable('self.count = count', at('    def __init__(self, count):\n        self.count = count\n        █')),
    ).toBe('');
    expect(showable("\n'use strict';", at("'use strict';█"))).toBe('');
    expect(showable(' = 1\nb = 2', at('a = 1\na█'))).toBe('');
  });

  it('should repeat a bracket above', () => {
    expect(showable(')', at('f(\n  g(\n    1\n  )\n█'))).toBe(')');
  });

  it('should be cut before a line that repeats itself', () => {
    expect(showable(`x = 1\n${'print(x)\n'.repeat(5)}`, at('█'))).toBe('x = 1');
    expect(showable(`nt(x)\n${'  print(x)\n'.repeat(3)}`, at('  pri█'))).toBe('');
  });

  it('should be cut before a block that repeats itself', () => {
    expect(showable('if a:\n    b()\n'.repeat(4), at('█'))).toBe('');
    expect(showable(`start()\n${'if a:\n    b()\n'.repeat(4)}`, at('█'))).toBe('start()');
  });

  it.each([
    ['  # █', 'return the value of the value of the value of the value of the value'],
    ['█', 'f())))))))))'],
    ['let foo = █', 'foo = foo = foo = foo = foo = foo = foo = foo'],
    ['npm install █', '####################'],
    ['const c = █', '(a === b) ? b : b.b(a) ? b : b.b(a) ? b : b.b(a) ? b : b.b(a) ? b : b.'],
    ['  prev: █', 'null, next: null, next: null, next: null, next: null, next: null'],
    ['  █', '[LogLevel.Info][LogLevel.Info][LogLevel.Info][LogLevel.Info]'],
    ['  [LogLevel.Information]█', '[LogLevel.Information][LogLevel.Information]'],
    ["const bars = '█", '||||||||||||||||||||||||||||||||||||||||||||||||||'],
    ['emb(█', 'config.vocabSizeSize, config.vocabSizeSize, config.vocabSizeSize,'],
  ])('should show nothing of a line with a phrase that repeats itself: %s', (file, text) => {
    expect(showable(text, at(file))).toBe('');
  });

  it('should not show half of a number', () => {
    const text = `1000000000\nlet biggest = 1${'0'.repeat(45)}`;
    expect(showable(text, at('let bigger = █'))).toBe('1000000000');
  });

  it('should show nothing of a text that is only repeated punctuation', () => {
    expect(showable(',,,,,,,,,,(,,,,,,,,', at('return █\n'))).toBe('');
  });

  it.each([
    '# -----------------------------------',
    '/**************************************',
    'mask = 0x00000000',
    'row = [0, 0, 0, 0]',
    'case 1:\n  f();\ncase 2:\n  f();',
    'a.b.c.d(e)(f)(g)',
    'print("-----------------------------------")',
    'const row = "|---|---|---|---|---|---|";',
    '| --- | --- | --- | --- | --- |',
    'const zero = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0];',
    'z.tuple([z.string(), z.string(), z.string()])',
  ])('should leave what people write alone: %s', (text) => {
    expect(showable(text, at('\n█'))).toBe(text);
  });
});

describe('a text that a limit cut', () => {
  it.each([
    ['numpy.array(█)', '100, 100, 100, 1'],
    ['numpy.zeros(█', "'.z.z.z.z.z.z.z."],
    ['foo(bar(█', 'x, y, z, z, z, z, z, z,'],
    ['x = [█', '0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10, 10, 10, 10, 10'],
    ['x = "aaaa█', 'aaaaaaaaaaaaaaaa'],
    ['const bars = █', "'{%s %}%s' % (\n    '&&&&&&&&&&&&&&&&&&&&&&&&&&&&&&"],
    ['| a | b |\n|---|---|\n| █', '| || || || || || || |||||||||||||'],
  ])('should not show the repetition that it was in: %s', (file, text) => {
    const shown = showable(text, at(file), 'cut');
    expect(text.slice(0, text.lastIndexOf('\n') + 1).trimEnd()).toBe(shown);
  });

  it('should end before lines that repeat themselves', () => {
    const line = 'var big = 0; var big = 0;\n';
    const text = `0;\n${line}${line}var big = 0; var big`;
    expect(showable(text, at('let bigger = █'), 'cut')).toBe('0;');
  });

  it.each([
    ['[0, 0, 0, 0]', 'whole'],
    ['[0, 0, 0, 0', 'whole'],
    ['[0, 0, 0', 'cut'],
    ["import a from './a.js';\nimport b from './b.js';\nimport c from", 'cut'],
    ['// ------------', 'cut'],
    ['| --- | --- | --- | ---', 'cut'],
    ["case 'a':\n  return a();\ncase 'b':\n  return b();\ncase 'c':\n  return c(", 'cut'],
  ] as const)('should be shown where it repeats nothing, or is not cut: %s, %s', (text, written) => {
    expect(showable(text, at('\n█'), written)).toBe(text);
  });

  it('should be shown where only what is left away is in a repetition', () => {
    expect(showable('a;\nb.b.b.b.b.b.b.b.', at('f(█) // x'), 'cut')).toBe('a;');
  });
});

describe('a closing line at the cursor', () => {
  it.each([
    ['let sum = (a, b) => {\n  return a + b;\n  █\n};\n', '}'],
    ['app.use(() => {\n  next();\n  █\n});\n', '});'],
    ['f(() => {\n  █\n});\n', '}'],
  ])('should not be shown where the line below closes what is open: %j', (file, text) => {
    expect(showable(text, at(file))).toBe('');
  });

  it.each([
    ['f(() => {\n  if (a) {\n    b();\n  █\n});\n', '}'],
    ['function f() {\n  return 1;\n█\n\nfunction g() {\n}\n', '}'],
    ['if (a) {\n  b();\n█', '}'],
  ])('should be shown where it closes something: %j', (file, text) => {
    expect(showable(text, at(file))).toBe(text);
  });
});

describe('what belongs to no source text', () => {
  it.each([
    ['"\ufffd"], ["', ''],
    ['a\nb\ufffdc', 'a'],
    ['a\nb\u0000c', 'a'],
    ['a\nb\rc', 'a'],
    ['a\nb\ud83d', 'a'],
    ['function|fim_prefix|>function|fim_prefix||', ''],
    ['x;\n<|endoftext|>', 'x;'],
    ['x;\n<fim_suffix>', 'x;'],
    ['x;\n<｜fim▁hole｜>', 'x;'],
    ['x;\n<|fim_mi', 'x;'],
    ['x;\n <SUF>', 'x;'],
  ])('should not be shown: %j', (text, shown) => {
    expect(showable(text, at('const x = █'))).toBe(shown);
  });

  it('should be shown where the text around the cursor has it as well', () => {
    const cursor = at("const MARKERS = ['<|fim_prefix|>', █];\nconst broken = '\ufffd';\n");
    expect(showable("'<|fim_prefix|>', '\ufffd'", cursor)).toBe("'<|fim_prefix|>', '\ufffd'");
    expect(showable("'|fim_prefix|>'", cursor)).toBe('');
    expect(showable('fim_prefix', at('call(█'))).toBe('fim_prefix');
  });
});

describe('showableEnd', () => {
  it.each([
    ['a line further out', 'return json.load(file)\n\nd', PYTHON, 'return json.load(file)\n'],
    ['what closes the block', 'if (a) {\n    b();\n  }\n', at('  █'), undefined],
    ['the end of an opened block', ' {\n  b();\n}\n', at('if (a)█'), ' {\n  b();\n}'],
    ['the line above again', 'self.count = count\n', at('    self.count = count\n    █'), ''],
    ['a block for the third time', 'x = 1\nf()\nf()\nf()\n', at('█'), 'x = 1'],
    ['a phrase that goes on and on', 'a\nb = foo.bar(foo.bar(foo.bar(foo.bar(foo.bar(', at('█'), 'a'],
    ['a marker', 'x;\n<|fim_prefix|> ', at('█'), 'x;'],
  ])('should be known at %s', (_, text, cursor, shown) => {
    const end = showableEnd(text, cursor);
    expect(end === undefined ? undefined : text.slice(0, end)).toBe(shown);
  });

  it.each([
    ['return json.load(file)\n\n', PYTHON],
    ['f()\nf()\nf()', at('█')],
    ["const line = '---------------------", at('█')],
    ['x;\n<|fim_prefix|>', at('█')],
    ['def f():\n    pass\n\ne', at('█')],
  ])('should be open while something that can be shown may come: %j', (text, cursor) => {
    expect(showableEnd(text, cursor)).toBeUndefined();
  });
});

describe('isWellFormed', () => {
  it.each(['f(a[1], {b: 2})', '} else {', ')', "x = 'it\\'s'", '"(" + f("]")', 'f('])('should accept %s', (line) => {
    expect(isWellFormed(line)).toBe(true);
  });
  it.each(['f(a))', 'f(a]', '"a""', "f('a)", 'a)'])('should refuse %s', (line) => {
    expect(isWellFormed(line)).toBe(false);
  });
});
