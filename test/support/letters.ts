/** A vocabulary that can be read: the id of a letter is its code point, and 0 ends a text. */
import type { Vocabulary } from '../../src/engine/types.ts';

export const letters: Vocabulary = {
  isText: (id) => id >= 32 && id < 127,
  isEnd: (id) => id === 0,
  decode: (ids) => String.fromCodePoint(...ids),
  encode: (text) => Array.from(text, (letter) => letter.codePointAt(0)!),
  bytesOf: (id) => (id === 0 ? new Uint8Array() : Uint8Array.of(id)),
};
