/** Which request of an editor continues which. */
import { describe, expect, it } from 'vitest';
import { isTypedOn } from '../../../src/api/editor/typed-on.ts';

const FILE = `${'const line = one();\n'.repeat(30)}function total(numbers) {\n  return num`;
const REST = `\n}\n${'total([1, 2]);\n'.repeat(30)}`;
const at = (prefix: string, suffix = REST) => ({ prefix, suffix });

describe('isTypedOn', () => {
  it.each([
    ['a key', at(FILE), at(`${FILE}b`)],
    ['several keys', at(FILE), at(`${FILE}bers.reduce(`)],
    ['a line end with the indentation of the next line', at(FILE), at(`${FILE}bers;\n  `)],
    ['another key than the last one', at(FILE), at(`${FILE.slice(0, -1)}l`)],
    ['a bracket that the editor closes', at(FILE), at(`${FILE}(`, `)${REST}`)],
    ['a bracket and a brace that the editor closes', at(FILE), at(`${FILE}({`, `})${REST}`)],
    ['a key in a window of the text that moves with the cursor', at(FILE.slice(0, -1)), at(FILE.slice(1))],
    ['a line in a window of whole lines', at(FILE), at(`${FILE.slice(FILE.indexOf('\n') + 1)}bers;\n  `)],
    ['a key in a text whose end is cut by length', at(FILE, REST.slice(0, 300)), at(`${FILE}b`, REST.slice(0, 290))],
    ['a key in a short file', at('export const a = ', ''), at('export const a = 1', '')],
  ])('should see %s', (_, older, newer) => {
    expect(isTypedOn(older, newer)).toBe(true);
  });

  it.each([
    ['the same text: several samples of one completion', at(FILE), at(FILE)],
    ['one that comes late over another connection', at(`${FILE}b`), at(FILE)],
    ['another place of the same file', at(FILE), at(FILE.slice(0, 300), FILE.slice(300) + REST)],
    [
      'the next place of the same file',
      at(FILE.slice(0, 300), FILE.slice(300)),
      at(FILE.slice(0, 301), FILE.slice(301)),
    ],
    ['a step over a bracket', at('const sum = f(a', `)${REST}`), at('const sum = f(a)', REST)],
    ['a hole of another length at the same place', at(FILE), at(FILE, REST.slice(3))],
    ['a hole that begins later and ends in the same place', at(FILE), at(`${FILE}${'bers\n'.repeat(20)}`)],
    ['another file', at(FILE), at(FILE.replaceAll('line', 'word'))],
    ['another line in the same place', at(FILE), at(`${FILE.slice(0, -6)}throw error`)],
    ['short prompts that are alike', at('const a = ', ''), at('const b = ', '')],
    ['a short prompt that another one begins with', at('const', ''), at('const x', '')],
    ['the beginning of a new file', at('', ''), at('import ', '')],
  ])('should not see %s', (_, older, newer) => {
    expect(isTypedOn(older, newer)).toBe(false);
  });
});
