/** What a build of the kernels exports: the types of `assembly/index.ts`. */

/** A byte offset into the memory that was given to `instantiateKernels`; tensors start at multiples of 16 bytes. */
export type Pointer = number;

/**
 * What a build exports. Conventions: tensors are row-major float32 unless stated otherwise; strides are in elements;
 * `k` is a multiple of 32, `n` a multiple of 8, `headDim` a multiple of 16, at most 256. An *activation block* holds
 * quantized rows: int8 values, a scale per row, and the sums that cancel the zero points of the weights. Rows are
 * computed in groups of four and the remaining ones one by one, with the same bits: four rows cost a little less than
 * three.
 */
export interface KernelExports {
  /** Bytes of an activation block of `rows` rows of length `k`. */
  activationBytes(rows: number, k: number): number;
  /** Bytes of a packed 4-bit matrix of `n` outputs and `k` inputs, group scales included. */
  packedU4Bytes(n: number, k: number): number;
  /** Bytes of a packed 7-bit matrix of `n` outputs and `k` inputs, row scales included. */
  packedU7Bytes(n: number, k: number): number;
  /** Bytes of a query block of `rows` queries. */
  queryBytes(rows: number, headDim: number): number;
  /** Bytes of a block of keys and values: 32 tokens of one key/value head. */
  blockBytes(headDim: number): number;
  /** Bytes of scratch of `attend` over so many blocks of 32 tokens. */
  attentionScratchBytes(blocks: number): number;

  /** x (rows, k) → activation block `a`: scale = absmax/127 a row, q = nearestEven(x · 127/absmax). */
  quantizeRows(x: Pointer, rows: number, k: number, a: Pointer): void;
  /** RMSNorm of x (rows, k) with weight (k), then quantized as in `quantizeRows`; x is not changed. */
  rmsNormQuantizeRows(x: Pointer, weight: Pointer, rows: number, k: number, eps: number, a: Pointer): void;
  /**
   * silu(gate) · up of gateUp (rows, 2k: k gates, then k ups), then quantized. Overwrites the gates with the product.
   */
  swigluQuantizeRows(gateUp: Pointer, rows: number, k: number, a: Pointer): void;

  /** y (rows, n) = or += (accumulate = 1) a (rows, k) × w (n, k)ᵀ, w packed by `packU4`. */
  matmulU4(a: Pointer, rows: number, k: number, w: Pointer, n: number, y: Pointer, accumulate: 0 | 1): void;
  /** y (rows, n of row stride yStride) = a (rows, k) × w (n, k)ᵀ, w packed by `packU7`. */
  matmulU7(a: Pointer, rows: number, k: number, w: Pointer, n: number, y: Pointer, yStride: number): void;

  /**
   * Packs rows [row, row + count) of a 4-bit matrix (n, k) into `w`. `row` and `count` are multiples of 8. src: nibbles
   * (count, k/2 bytes), element 2j in the low half of byte j, stored value = weight + 8. It needs no alignment and must
   * not overlap `w`.
   */
  packU4(src: Pointer, count: number, k: number, row: number, w: Pointer): void;
  /** The scales of those rows: src bfloat16 (count, k/32). */
  packU4Scales(src: Pointer, count: number, k: number, row: number, w: Pointer): void;
  /** As `packU4` for src int8 (count, k) in [-64, 63]. */
  packU7(src: Pointer, count: number, k: number, row: number, w: Pointer): void;
  /** The scales of those rows: src bfloat16 (count). */
  packU7Scales(src: Pointer, count: number, k: number, n: number, row: number, w: Pointer): void;

  /** x (rows of stride rowStride; n) += bias (n). n is a multiple of 4. Any number of rows. */
  addBias(x: Pointer, rows: number, rowStride: number, n: number, bias: Pointer): void;

  /** x (rows, k) = the rows `ids` (int32, each in [0, n)) of the packed 7-bit matrix `w` (n, k). Any number of rows. */
  embedRows(ids: Pointer, rows: number, w: Pointer, n: number, k: number, x: Pointer): void;

  /**
   * Heads of x (rows of stride rowStride; heads, headDim) → query block: RMSNorm with weight (headDim), or none where
   * `weight` is 0; rotary embedding, rotate-half convention; 7 bits and a scale a query, which is multiplied by
   * `scale`. The queries of one row lie next to each other. positions: int32 (rows), negative ones rotate the other
   * way. table: (maxPosition, headDim): headDim/2 cosines, then headDim/2 sines of each position. Any number of rows.
   */
  quantizeQueries(
    x: Pointer,
    rows: number,
    rowStride: number,
    heads: number,
    headDim: number,
    weight: Pointer,
    eps: number,
    positions: Pointer,
    table: Pointer,
    scale: number,
    queries: Pointer,
  ): void;
  /**
   * Appends keys and values of one key/value head to a context at token `offset`. k, v: (rows of stride rowStride;
   * headDim), as they come from their projections: keys are normed and rotated as queries are, 7 bits and a scale a
   * token; values get 8 bits and a scale a token. pages: uint32 addresses of the pages of the context, one for every 32
   * tokens; the block of the head is at `place` in each.
   */
  storeKeysValues(
    k: Pointer,
    v: Pointer,
    rows: number,
    rowStride: number,
    headDim: number,
    weight: Pointer,
    eps: number,
    positions: Pointer,
    table: Pointer,
    place: number,
    pages: Pointer,
    offset: number,
  ): void;
  /**
   * out (rows of stride outRowStride; heads, headDim) = attention of rows · heads queries over one key/value head: row
   * r sees the first count + countStep · r tokens of `pages` (a canvas has countStep 0, a causal stream 1) and, where
   * suffixCount is not 0, the same rows of suffixQueries see the first suffixCount tokens of suffixPages, in one
   * softmax over both. `place` and both tables are as in `storeKeysValues`. Scores are powers of two: the scales of the
   * queries hold log2 e. Every row sees at least one token. scratch: `attentionScratchBytes` of the blocks of all
   * tokens, each of the two counts rounded up to whole blocks.
   */
  attend(
    queries: Pointer,
    rows: number,
    heads: number,
    headDim: number,
    place: number,
    pages: Pointer,
    count: number,
    countStep: number,
    suffixQueries: Pointer,
    suffixPages: Pointer,
    suffixCount: number,
    out: Pointer,
    outRowStride: number,
    scratch: Pointer,
  ): void;

  /**
   * RMSNorm of every head in place: x (rows of stride rowStride; heads, headDim) with weight (headDim). Any number of
   * rows.
   */
  normHeads(
    x: Pointer,
    rows: number,
    rowStride: number,
    heads: number,
    headDim: number,
    weight: Pointer,
    eps: number,
  ): void;
  /**
   * Rotary embedding, rotate-half convention, from x to y (may be the same). positions: int32 (rows), negative ones
   * rotate the other way. table: (maxPosition, headDim): headDim/2 cosines, then headDim/2 sines of each position.
   */
  rotateHeads(
    x: Pointer,
    rows: number,
    rowStride: number,
    heads: number,
    headDim: number,
    positions: Pointer,
    table: Pointer,
    y: Pointer,
    yRowStride: number,
  ): void;

  /**
   * Appends keys and values of one key/value head to a float cache at token `offset`. k, v: (rows of stride rowStride;
   * headDim). keys: tiles of 8 tokens [capacity/8][headDim][8]; values: [capacity][headDim].
   */
  storeFloatKeysValues(
    k: Pointer,
    v: Pointer,
    rows: number,
    rowStride: number,
    headDim: number,
    keys: Pointer,
    values: Pointer,
    offset: number,
  ): void;
  /**
   * scores (rows of stride scoreStride; count) = scale · q × keysᵀ, for one query head. Writes `count` rounded up to 8
   * entries a row, the ones past `count` being of no meaning: to lay several key sets side by side, write them from
   * left to right. `scores` may start at any float.
   */
  attentionScores(
    q: Pointer,
    qRowStride: number,
    rows: number,
    headDim: number,
    keys: Pointer,
    count: number,
    scale: number,
    scores: Pointer,
    scoreStride: number,
  ): void;
  /**
   * Softmax of the first `count` entries of every row, in place; the rest of the first `width` entries becomes 0. Needs
   * room for the kept entries rounded up to 4: the entries after them become 0 too, independent of `width`.
   */
  softmaxRows(scores: Pointer, rows: number, scoreStride: number, count: number, width: number): void;
  /**
   * out (rows of stride outRowStride; headDim) = or += (accumulate = 1) scores (rows, count) × values (count, headDim).
   */
  attentionMix(
    scores: Pointer,
    scoreStride: number,
    rows: number,
    values: Pointer,
    count: number,
    headDim: number,
    out: Pointer,
    outRowStride: number,
    accumulate: 0 | 1,
  ): void;

  /**
   * Logits of every row over the packed 7-bit vocabulary `w` (n, k), of which only the `topK` (1 to 16) largest are
   * kept, descending, the lower id first among equals: ids int32 (rows, topK), logits (rows, topK), and lse (rows) =
   * log Σ exp(logit) over the whole vocabulary. Walks the vocabulary in chunks that fit `scratch`: at least 64 · rows
   * bytes (rounded up to 16); 64 KiB serve 32 rows well.
   */
  headTopK(
    a: Pointer,
    rows: number,
    k: number,
    w: Pointer,
    n: number,
    topK: number,
    ids: Pointer,
    logits: Pointer,
    lse: Pointer,
    scratch: Pointer,
    scratchBytes: number,
  ): void;
}
