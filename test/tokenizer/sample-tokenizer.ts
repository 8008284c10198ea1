/**
 * A tokenizer.json of 272 tokens: six special ones, 256 bytes and ten merges. Small enough to work out its ids by hand.
 */

export const specialTokens = { pad: 0, mask: 1, eom: 2, prefix: 3, suffix: 4, endOfText: 5 };

/** Id of the token that is one byte. */
export function byteId(byte: number): number {
  return 6 + byte;
}

const BYTES = byteCharacters();
const MERGES = ['Ġ Ġ', 'ĠĠ ĠĠ', 'i n', 'r e', 't u', 're tu', 'retu r', 'retur n', 'Ġ in', '= ='];

/** Ids of the merged tokens, by their text with Ġ for a space. */
export const mergedId: Record<string, number> = Object.fromEntries(
  MERGES.map((merge, index) => [merge.replace(' ', ''), 262 + index]),
);

export function sampleTokenizer() {
  const vocab: Record<string, number> = {};
  const contents = ['<|pad|>', '<|mask|>', '<|eom|>', '<|prefix|>', '<|suffix|>', '<|endoftext|>'];
  contents.forEach((content, id) => {
    vocab[content] = id;
  });
  BYTES.forEach((character, byte) => {
    vocab[character] = byteId(byte);
  });
  Object.assign(vocab, mergedId);
  return {
    version: '1.0',
    added_tokens: contents.map((content, id) => ({ id, content, special: true, normalized: false })),
    normalizer: null,
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        {
          type: 'Split',
          pattern: { Regex: '[^\\S\\n]*[\\p{L}\\p{M}]+|\\p{N}+|[^\\s\\p{L}\\p{N}]+|\\s*\\n|\\s+' },
          behavior: 'Isolated',
          invert: false,
        },
        { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false },
      ],
    },
    post_processor: null,
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      ignore_merges: false,
      vocab,
      merges: MERGES.map((m) => m.split(' ')),
    },
  };
}

/** The alphabet written out, independently of the reader: GPT-2's visible characters for bytes. */
function byteCharacters(): string[] {
  const characters = Array.from({ length: 256 }, (_, byte) => String.fromCharCode(byte));
  const invisible = [...range(0, 0x20), ...range(0x7f, 0xa0), 0xad];
  invisible.forEach((byte, index) => {
    characters[byte] = String.fromCharCode(0x100 + index);
  });
  return characters;
}

function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, index) => first + index);
}
