/**
 * The bytes of all tokens, one after another: an array for each of some ten thousand tokens takes megabytes of the
 * heap.
 */
export class TokenBytes {
  readonly #bytes: Uint8Array;
  readonly #starts: Int32Array; // by id
  readonly #lengths: Int32Array; // by id; 0: not a token of text
  #used = 0;

  /** @param capacity bytes of all tokens that will be set, or more */
  constructor(vocabSize: number, capacity: number) {
    this.#bytes = new Uint8Array(capacity);
    this.#starts = new Int32Array(vocabSize);
    this.#lengths = new Int32Array(vocabSize);
  }

  set(id: number, bytes: ArrayLike<number>): void {
    this.#bytes.set(bytes, this.#used);
    this.#starts[id] = this.#used;
    this.#lengths[id] = bytes.length;
    this.#used += bytes.length;
  }

  /** A view; undefined for an id that is not a token of text. */
  get(id: number): Uint8Array | undefined {
    const length = this.#lengths[id];
    if (!length) return undefined;
    const start = this.#starts[id]!;
    return this.#bytes.subarray(start, start + length);
  }
}
