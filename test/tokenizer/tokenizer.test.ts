import { describe, expect, it } from 'vitest';
import { TokenizerError } from '../../src/tokenizer/schema.ts';
import { loadTokenizer } from '../../src/tokenizer/tokenizer.ts';
import { byteId, mergedId, sampleTokenizer, specialTokens } from './sample-tokenizer.ts';

const tokenizer = loadTokenizer(sampleTokenizer());
const utf8 = (text: string) => Array.from(new TextEncoder().encode(text));
const bytesOf = (text: string) => utf8(text).map(byteId);

/** The sample file with one part of it changed. */
function changed(edit: (json: ReturnType<typeof sampleTokenizer>) => unknown): () => unknown {
  const json = sampleTokenizer();
  const replaced = edit(json);
  return () => loadTokenizer(replaced ?? json);
}

describe('encode', () => {
  it('should find special tokens by their content', () => {
    expect(tokenizer.special).toEqual(specialTokens);
    expect(tokenizer.vocabSize).toBe(272);
  });

  it('should merge by rank', () => {
    expect(tokenizer.encode('return')).toEqual([mergedId.return]);
    expect(tokenizer.encode('returns')).toEqual([mergedId.return, byteId(0x73)]);
    expect(tokenizer.encode('retur')).toEqual([mergedId.retur]);
    // 'in' has a better rank than ' in', which is made of it.
    expect(tokenizer.encode(' in')).toEqual([mergedId.Ġin]);
  });

  it('should merge the leftmost of equal pairs', () => {
    expect(tokenizer.encode('===')).toEqual([mergedId['=='], byteId(0x3d)]);
    expect(tokenizer.encode(' '.repeat(7))).toEqual([mergedId.ĠĠĠĠ, mergedId.ĠĠ, byteId(0x20)]);
  });

  it('should not merge across the pieces of the split', () => {
    expect(tokenizer.encode('re1tu')).toEqual([mergedId.re, byteId(0x31), mergedId.tu]);
  });

  it('should encode special tokens typed in a text as text', () => {
    const text = '<|mask|> <|endoftext|><|suffix|>';
    const ids = tokenizer.encode(text);
    for (const id of Object.values(specialTokens)) expect(ids).not.toContain(id);
    expect(tokenizer.decode(ids)).toBe(text);
  });

  it('should take white space as Unicode has it', () => {
    // U+0085 is white space to Unicode but not to \s, U+FEFF the other way round.
    for (const text of ['re\u0085 tu', 're\ufefftu', 're\u00a0tu']) {
      expect(tokenizer.encode(text)).toEqual([mergedId.re, ...bytesOf(text.slice(2, -2)), mergedId.tu]);
    }
  });

  it('should go on where a pattern matches nothing', () => {
    const json = sampleTokenizer();
    json.pre_tokenizer.pretokenizers[0]!.pattern = { Regex: 'x*' };
    expect(loadTokenizer(json).encode('👍returnxxin')).toEqual([
      ...bytesOf('👍'),
      mergedId.return,
      ...bytesOf('xx'),
      mergedId.in,
    ]);
  });

  it('should replace lone surrogates', () => {
    expect(tokenizer.encode('a\ud83db')).toEqual(bytesOf('a\ufffdb'));
  });

  it('should encode nothing as nothing', () => {
    expect(tokenizer.encode('')).toEqual([]);
  });

  it('should give the same ids when a word comes again', () => {
    const text = 'return in return\n  return == in';
    expect(tokenizer.encode(text)).toEqual(loadTokenizer(sampleTokenizer()).encode(text));
  });

  it('should encode a line of 200,000 equal characters', () => {
    // Looking through all of them for each merge would not end before the test's limit.
    const ids = tokenizer.encode('='.repeat(200_000));
    expect(ids).toEqual(new Array(100_000).fill(mergedId['==']));
  });
});

describe('decode', () => {
  const texts = [
    'def f():\n\treturn 1\r\n',
    'naïve “π” ≠ 日本語',
    '👩‍👩‍👧 🇫🇷',
    '\ufeffmark',
    '\u0000\u007f\u0085',
    'é',
  ];

  it.each(texts)('should give back %j', (text) => {
    expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
  });

  it('should leave out special tokens and unknown ids', () => {
    expect(tokenizer.decode([specialTokens.prefix, byteId(0x61), specialTokens.eom, 9999])).toBe('a');
  });

  it.each(texts)('should decode %j byte by byte without broken characters', (text) => {
    const decoder = tokenizer.decoder();
    let decoded = '';
    for (const id of bytesOf(text)) {
      const piece = decoder.push([id]);
      expect(piece).not.toContain('\ufffd');
      decoded += piece;
    }
    expect(decoded + decoder.flush()).toBe(text);
  });

  it('should hold back an unfinished character until it is finished or given up', () => {
    const [first, second, third] = bytesOf('€');
    const decoder = tokenizer.decoder();
    expect(decoder.push([first!, second!])).toBe('');
    expect(decoder.push([third!, first!])).toBe('€');
    expect(decoder.flush()).toBe('\ufffd');
    expect(tokenizer.decode([first!, byteId(0x61)])).toBe('\ufffda');
  });
});

describe('nameOf', () => {
  it.each([
    ['return', mergedId.return!],
    [' in', mergedId.Ġin!],
    ['\n', byteId(10)],
    ['\\', byteId(0x5c)],
    ['bytes:\\xe2', byteId(0xe2)],
    ['bytes:\\x80', byteId(0x80)],
    ['<|eom|>', specialTokens.eom],
    ['<|999|>', 999],
  ])('should be %j', (name, id) => {
    expect(tokenizer.nameOf(id)).toBe(name);
  });

  it('should be another one for each token', () => {
    const ids = Array.from({ length: tokenizer.vocabSize }, (_, id) => id);
    expect(new Set(ids.map((id) => tokenizer.nameOf(id))).size).toBe(tokenizer.vocabSize);
  });
});

describe('isText', () => {
  it('should hold for characters that represent bytes', () => {
    expect([byteId(0), mergedId.return!].every((id) => tokenizer.isText(id))).toBe(true);
    expect([...Object.values(specialTokens), 999, -1].some((id) => tokenizer.isText(id))).toBe(false);
  });
});

describe('loadTokenizer', () => {
  it('should read merges written as pairs of words', () => {
    const json = sampleTokenizer();
    const older = { ...json, model: { ...json.model, merges: json.model.merges.map((pair) => pair.join(' ')) } };
    expect(loadTokenizer(older).encode('return')).toEqual([mergedId.return]);
  });

  it.each([
    ['no object', changed(() => 'text'), 'expected object'],
    [
      'a missing special token',
      changed((json) => ({ ...json, added_tokens: json.added_tokens.filter(({ content }) => content !== '<|eom|>') })),
      "no special token '<|eom|>'",
    ],
    ['another model', changed((json) => ({ ...json, model: { ...json.model, type: 'Unigram' } })), 'model.type'],
    ['a normalizer', changed((json) => ({ ...json, normalizer: { type: 'NFKC' } })), 'normalizer'],
    [
      'a pattern JavaScript does not know',
      changed((json) => {
        json.pre_tokenizer.pretokenizers[0]!.pattern = { Regex: '(?<=' };
      }),
      'the split pattern',
    ],
    [
      'a missing byte',
      changed((json) => {
        delete json.model.vocab.a;
      }),
      "no token 'a'",
    ],
    [
      'a merge into no token',
      changed((json) => {
        json.model.merges.push(['a', 'b']);
      }),
      "no token 'ab'",
    ],
    [
      'a token that is not byte-level',
      changed((json) => {
        json.model.vocab['a b'] = 280;
      }),
      "'a b' is not byte-level",
    ],
  ])('should refuse %s by name', (_, load, named) => {
    expect(load).toThrow(TokenizerError);
    expect(load).toThrow(named);
  });
});
