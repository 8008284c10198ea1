/**
 * Ids and text equal those of the `tokenizers` library: test/golden/tokenizers, see
 * training/export/tokenizer_parity.py.
 */

import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TokenizerError } from '../../src/tokenizer/schema.ts';
import { loadTokenizer } from '../../src/tokenizer/tokenizer.ts';

const FOLDER = new URL('../golden/tokenizers/', import.meta.url);
const read = (name: string) => readFileSync(new URL(name, FOLDER), 'utf8');

describe.each(['digits', 'words'])('the tokenizer of %s', (name) => {
  const tokenizer = loadTokenizer(JSON.parse(read(`${name}.json`)));
  const golden = read(`${name}.texts.jsonl`).trim().split('\n');

  it.each(golden.map((line) => JSON.parse(line)))('should read $input as the library does', ({ input, ids, text }) => {
    expect(tokenizer.encode(input)).toEqual(ids);
    expect(tokenizer.decode(ids)).toBe(text);
  });

  it('should cut a text in ASCII as it does beside other characters', () => {
    const ascii = fc.oneof(
      fc.string({ unit: 'binary-ascii', maxLength: 60 }),
      fc.string({ unit: fc.constantFrom(...'aZ_09 \t\r\n\v.;('), maxLength: 60 }),
    );
    // A line end, a letter and a line end: no piece reaches over them.
    const other = '\n€\n';
    fc.assert(
      fc.property(ascii, (text) => {
        const within = `${text}a`;
        expect([...tokenizer.encode(within), ...tokenizer.encode(other)]).toEqual(tokenizer.encode(within + other));
      }),
      { numRuns: 2_000 },
    );
  });
});

describe('added tokens', () => {
  const json = JSON.parse(read('digits.json'));
  const tokenizer = loadTokenizer(json);
  const idOf = (content: string) =>
    json.added_tokens.find((token: { content: string }) => token.content === content).id;

  it('should keep their id and their text where they are not special', () => {
    const ids = tokenizer.encode('a <think> b');
    expect(ids).toContain(idOf('<think>'));
    expect(tokenizer.decode(ids)).toBe('a <think> b');
    expect(tokenizer.isText(idOf('<think>'))).toBe(true);
    expect(tokenizer.nameOf(idOf('<think>'))).toBe('<think>');
  });

  it('should be text if diffusion uses them, whatever the file calls them', () => {
    const open = structuredClone(json);
    for (const token of open.added_tokens) token.special = false;
    const lax = loadTokenizer(open);
    expect(lax.encode('<|mask|> <|suffix|>')).toEqual(tokenizer.encode('<|mask|> <|suffix|>'));
    expect(lax.isText(lax.special.mask)).toBe(false);
  });

  it('should be found in a long text of almost nothing else in time that grows with its length', () => {
    const text = '<word> '.repeat(40_000);
    expect(tokenizer.encode(text).filter((id) => id === idOf('<word>'))).toHaveLength(40_000);
  });

  it('should refuse bytes that are made before the last cut', () => {
    const wrong = structuredClone(json);
    wrong.pre_tokenizer.pretokenizers.reverse();
    expect(() => loadTokenizer(wrong)).toThrow(TokenizerError);
    expect(() => loadTokenizer(wrong)).toThrow('ByteLevel as the last pre-tokenizer');
  });
});
