import { describe, expect, it } from 'vitest';
import { edited, elementsOf, membersOf, withName, withoutMembers, withValue } from '../../src/backend/json-text.ts';

/** Every kind of value, and everything that a writer of its own would change. */
const ODD = `\t{ "a" : [1.0, {"model":"inner"}, "]}\\"", -0, 1e400], "seed":18446744073709551615,
  "x":9007199254740993 ,"f":1.0,"e":1e400, "s":"\\u00e9\\/😀", "model" :\n"old" , "n":{}, "l":[ ], "t":true}\n`;

describe('edits in JSON text', () => {
  it('should exchange the value of a member at the top and nothing else', () => {
    expect(withValue(ODD, 'model', 'a "new" one')).toBe(ODD.replace('"old"', '"a \\"new\\" one"'));
  });

  it('should find a name that is written with escapes, and all members of a name', () => {
    expect(withValue('{"\\u006dodel":1,"model":{"a":[]}}', 'model', 'm')).toBe('{"\\u006dodel":"m","model":"m"}');
    expect(JSON.parse(withValue('{"model":"a","model":"b"}', 'model', 'm'))).toEqual({ model: 'm' });
  });

  it('should rename a member and leave its value', () => {
    expect(withName('{"random_seed" : 18446744073709551615}', 'random_seed', 'seed')).toBe(
      '{"seed" : 18446744073709551615}',
    );
  });

  it.each([
    ['{"a":1,"b":2.0,"c":3}', ['b'], '{"a":1,"c":3}'],
    ['{"a":1}', ['a'], '{}'],
    ['{"a":1, "b":1.50}', ['a'], '{"b":1.50}'],
    ['{ "b":1.50 }', ['a'], '{ "b":1.50 }'],
    ['{}', ['a'], '{}'],
  ])('should leave members out of %s', (text, names, expected) => {
    expect(withoutMembers(text, new Set(names))).toBe(expected);
  });

  it('should see what JSON.parse sees, however it is written', () => {
    const values: unknown[] = [{ a: [{}, [], ''], '"': { '\\': [null, false] }, '': '{"x":[' }, {}, { b: '\\' }];
    for (const value of values) {
      for (const indent of [0, 1, '\t']) {
        const text = JSON.stringify(value, null, indent);
        const members = membersOf(text).map(({ name, start, end }) => [name, JSON.parse(text.slice(start, end))]);
        expect(Object.fromEntries(members)).toEqual(value);
      }
    }
    const list = ' [1 , "]", [2], {"a":[3]}, null] ';
    expect(elementsOf(list, 0).map(({ start, end }) => JSON.parse(list.slice(start, end)))).toEqual(JSON.parse(list));
    expect(elementsOf('{}', 0)).toEqual([]);
    expect(membersOf('[1]')).toEqual([]);
  });

  it('should make edits in any order', () => {
    const edits = [
      { start: 2, end: 3, text: 'C' },
      { start: 0, end: 1, text: '' },
    ];
    expect(edited('abc', edits)).toBe('bC');
  });
});
