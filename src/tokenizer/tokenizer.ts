/**
 * Text ↔ token ids by byte-level BPE, read from a Hugging Face `tokenizer.json`. Gives the ids of the `tokenizers`
 * library with `encode_special_tokens` on: a special token typed in a text is text, so that no text can forge the end
 * of a context. `python -m training.export.tokenizer_parity` compares the two over a corpus.
 */

import { detachedText } from '../detached-text.ts';
import { buildSplitter, type Stretch } from './added-tokens.ts';
import { MergeTable, mergeSymbols } from './merges.ts';
import { buildPreTokenizer, type PreTokenizer } from './pre-tokenizer.ts';
import { type AddedTokenJson, parseTokenizerJson, TokenizerError, type TokenizerJson } from './schema.ts';
import { TokenBytes } from './token-bytes.ts';

/** Words longer than this are rarely seen twice. */
const CACHED_WORD_LENGTH = 48;
/** About 2 MB; source code has some thousand distinct words, so that clearing it is rare. */
const CACHED_WORDS = 16_384;
/** Of a UTF-16 unit. */
const UTF8_BYTES_MAX = 3;

const SPECIAL_TOKENS = {
  mask: '<|mask|>',
  eom: '<|eom|>',
  pad: '<|pad|>',
  prefix: '<|prefix|>',
  suffix: '<|suffix|>',
  endOfText: '<|endoftext|>',
} as const;

export type SpecialTokens = Readonly<Record<keyof typeof SPECIAL_TOKENS, number>>;

/** Whether a token ends a completion. */
export function isEnd(token: number, { eom, endOfText }: SpecialTokens): boolean {
  return token === eom || token === endOfText;
}

export interface Tokenizer {
  /** One more than the largest id. */
  readonly vocabSize: number;
  readonly special: SpecialTokens;
  /** Token ids of a text, never a special one. Lone surrogates become U+FFFD. */
  encode(text: string): number[];
  /** Text of token ids: special ones are left out, bytes that are not UTF-8 become U+FFFD. */
  decode(ids: Iterable<number>): string;
  /** @param skip bytes at the beginning that are left out */
  decoder(skip?: number): TokenDecoder;
  /** Whether a token is text: it is in the vocabulary and not special. */
  isText(id: number): boolean;
  /** The bytes of a token; none for a special one. */
  bytesOf(id: number): Uint8Array;
  /**
   * A name that no other token has: its text, or `bytes:\xe2\x9c` when that is no whole character (as OpenAI's text
   * completions name such tokens), or `<|name|>` of a special one; `<|id|>` where a model has logits for more ids than
   * there are tokens.
   */
  nameOf(id: number, skip?: number): string;
}

/** Decodes a growing list of tokens. */
export interface TokenDecoder {
  /** The text that `ids` complete; bytes of an unfinished character are kept for the next call. */
  push(ids: Iterable<number>): string;
  /** What is left: U+FFFD for an unfinished character, otherwise ''. */
  flush(): string;
}

/** The id of a special token that a model does not have: no token has it. */
export const NO_TOKEN = -1;

/**
 * Builds the tokenizer from the parsed `tokenizer.json`. Throws TokenizerError.
 * @param special ids of the special tokens, for a model that names them otherwise; looked up by their names when absent
 */
export function loadTokenizer(json: unknown, special?: SpecialTokens): Tokenizer {
  return new ByteLevelBpe(parseTokenizerJson(json), special);
}

class ByteLevelBpe implements Tokenizer {
  readonly vocabSize: number;
  readonly special: SpecialTokens;
  readonly #normalForm: 'NFC' | undefined;
  readonly #cutAddedTokens: (text: string) => Stretch[];
  readonly #preTokenize: PreTokenizer;
  readonly #byteIds: Int32Array; // (256)
  readonly #merges: MergeTable;
  readonly #tokenBytes: TokenBytes; // special tokens have none
  readonly #words = new Map<string, number[]>();
  readonly #utf8 = new TextEncoder();

  constructor({ added_tokens, model, normalizer, pre_tokenizer }: TokenizerJson, special?: SpecialTokens) {
    this.special = special ?? findSpecialTokens(new Map(added_tokens.map(({ content, id }) => [content, id])));
    this.#normalForm = normalizer?.type;
    const ids = [...added_tokens.map(({ id }) => id), ...model.vocab.values()];
    this.vocabSize = 1 + ids.reduce((largest, id) => Math.max(largest, id), 0);
    this.#cutAddedTokens = this.#splitterOf(added_tokens);
    this.#preTokenize = buildPreTokenizer(
      pre_tokenizer.type === 'Sequence' ? pre_tokenizer.pretokenizers : [pre_tokenizer],
    );

    const alphabet = byteAlphabet();
    const byteOf = new Map(alphabet.map((character, byte) => [character, byte]));
    const idOf = (token: string) => {
      const id = model.vocab.get(token);
      if (id === undefined) throw new TokenizerError(`tokenizer.json: no token '${token}' in the vocabulary`);
      return id;
    };
    this.#byteIds = Int32Array.from(alphabet, idOf);
    const lengthOf = (contents: string[]) => contents.reduce((total, { length }) => total + length, 0);
    // A character of the vocabulary is a byte; an added token may be any text.
    const capacity =
      lengthOf([...model.vocab.keys()]) + UTF8_BYTES_MAX * lengthOf(added_tokens.map(({ content }) => content));
    this.#tokenBytes = new TokenBytes(this.vocabSize, capacity);
    const addedContents = new Set(added_tokens.map(({ content }) => content));
    for (const [token, id] of model.vocab) {
      if (addedContents.has(token)) continue;
      const bytes = Array.from(token, (character) => {
        const byte = byteOf.get(character);
        if (byte === undefined) throw new TokenizerError(`tokenizer.json: token '${token}' is not byte-level`);
        return byte;
      });
      this.#tokenBytes.set(id, bytes);
    }
    for (const token of added_tokens) {
      if (this.#isSpecial(token)) continue;
      // The decoder of the library decodes every token whose characters all represent bytes.
      const bytes = Array.from(token.content, (character) => byteOf.get(character));
      const isByteLevel = bytes.every((byte) => byte !== undefined);
      this.#tokenBytes.set(token.id, isByteLevel ? bytes : this.#utf8.encode(token.content));
    }
    this.#merges = new MergeTable(this.vocabSize);
    model.merges.forEach((merge, rank) => {
      const [left, right, ...rest] = typeof merge === 'string' ? merge.split(' ') : merge;
      if (!left || !right || rest.length > 0) throw new TokenizerError(`tokenizer.json: merge ${rank} is not a pair`);
      this.#merges.add(idOf(left), idOf(right), idOf(left + right));
    });
  }

  encode(text: string): number[] {
    const ids: number[] = [];
    for (const stretch of this.#cutAddedTokens(text.toWellFormed())) {
      if ('id' in stretch) ids.push(stretch.id);
      else for (const piece of this.#preTokenize(stretch.text)) this.#encodeWord(piece, ids);
    }
    return ids;
  }

  decode(ids: Iterable<number>): string {
    const decoder = this.decoder();
    return decoder.push(ids) + decoder.flush();
  }

  decoder(skip = 0): TokenDecoder {
    let skipped = 0;
    const utf8 = new TextDecoder('utf-8', { fatal: false, ignoreBOM: true });
    return {
      push: (ids) => {
        let text = '';
        for (const id of ids) {
          const bytes = this.#tokenBytes.get(id);
          if (bytes === undefined) continue;
          const begin = Math.min(skip - skipped, bytes.length);
          skipped += begin;
          text += utf8.decode(bytes.subarray(begin), { stream: true });
        }
        return text;
      },
      flush: () => utf8.decode(),
    };
  }

  isText(id: number): boolean {
    return this.#tokenBytes.get(id) !== undefined;
  }

  bytesOf(id: number): Uint8Array {
    return this.#tokenBytes.get(id)?.slice() ?? new Uint8Array();
  }

  nameOf(id: number, skip = 0): string {
    const bytes = this.#tokenBytes.get(id)?.subarray(skip);
    if (bytes === undefined) {
      const special = (Object.keys(SPECIAL_TOKENS) as (keyof SpecialTokens)[]).find((key) => this.special[key] === id);
      return special === undefined ? `<|${id}|>` : SPECIAL_TOKENS[special];
    }
    try {
      return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch {
      return `bytes:${Array.from(bytes, (byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join('')}`;
    }
  }

  /**
   * A token that diffusion uses is always special, even if the file says otherwise: text must not be able to contain
   * it.
   */
  #isSpecial({ id, special }: AddedTokenJson): boolean {
    return special || Object.values(this.special).includes(id);
  }

  /** Also normalizes: some added tokens are searched for in the original text, the others in the normalized one. */
  #splitterOf(tokens: readonly AddedTokenJson[]): (text: string) => Stretch[] {
    const normalize = (text: string) => (this.#normalForm ? text.normalize(this.#normalForm) : text);
    const all = tokens.map((token) => ({ ...token, isSpecial: this.#isSpecial(token) }));
    const cutRaw = buildSplitter(all.filter(({ normalized }) => !normalized));
    const normalized = all.filter(({ normalized }) => normalized);
    const cutNormalized = buildSplitter(normalized.map((token) => ({ ...token, content: normalize(token.content) })));
    return (text) =>
      (cutRaw?.(text) ?? [{ text }]).flatMap((stretch) => {
        if ('id' in stretch) return [stretch];
        const normalText = normalize(stretch.text);
        return cutNormalized?.(normalText) ?? [{ text: normalText }];
      });
  }

  #encodeWord(word: string, ids: number[]): void {
    let wordIds = this.#words.get(word);
    if (wordIds === undefined) {
      const bytes = this.#utf8.encode(word);
      wordIds = mergeSymbols(
        Int32Array.from(bytes, (byte) => this.#byteIds[byte]!),
        this.#merges,
      );
      if (word.length <= CACHED_WORD_LENGTH) {
        if (this.#words.size >= CACHED_WORDS) this.#words.clear();
        this.#words.set(detachedText(word), wordIds);
      }
    }
    for (const id of wordIds) ids.push(id);
  }
}

function findSpecialTokens(ids: ReadonlyMap<string, number>): SpecialTokens {
  const find = (content: string) => {
    const id = ids.get(content);
    if (id === undefined) throw new TokenizerError(`tokenizer.json: no special token '${content}'`);
    return id;
  };
  return {
    mask: find(SPECIAL_TOKENS.mask),
    eom: find(SPECIAL_TOKENS.eom),
    pad: find(SPECIAL_TOKENS.pad),
    prefix: find(SPECIAL_TOKENS.prefix),
    suffix: find(SPECIAL_TOKENS.suffix),
    endOfText: find(SPECIAL_TOKENS.endOfText),
  };
}

/**
 * The visible character for each byte in a byte-level vocabulary: printable Latin-1 characters represent themselves,
 * the other bytes in ascending order are U+0100, U+0101, … (GPT-2).
 */
function byteAlphabet(): string[] {
  let shifted = 0x100;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte !== 0xad);
    return String.fromCharCode(printable ? byte : shifted++);
  });
}
