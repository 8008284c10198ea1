/** The locations of the weights and the scratch memory of a transformer in WASM memory. */

import type { Pointer } from './kernel-exports.ts';

/**
 * Number of best candidates kept for each slot: with up to five special tokens among them, the best text token is still
 * included.
 */
export const CANDIDATES = 8;

/** Tokens of a block of quantized keys and values. */
export const BLOCK_TOKENS = 32;

/** Logits of one chunk of the vocabulary during the top-k search; enough for 32 rows to run at full speed. */
export const HEAD_SCRATCH_BYTES = 65_536;

/** The weights of one layer; shapes as (outputs, inputs). A pointer is 0 where the model has no such weights. */
export interface LayerPointers {
  readonly inputNorm: Pointer; // f32 (hidden)
  readonly qkv: Pointer; // packed u4 ((heads + 2 · kvHeads) · headDim, hidden): q rows, k rows, v rows
  readonly qkvBias: Pointer; // f32 ((heads + 2 · kvHeads) · headDim), or 0
  readonly qNorm: Pointer; // f32 (headDim), or 0
  readonly kNorm: Pointer; // f32 (headDim), or 0
  readonly output: Pointer; // packed u4 (hidden, heads · headDim)
  readonly postAttentionNorm: Pointer; // f32 (hidden)
  readonly gateUp: Pointer; // packed u4 (2 · ffn, hidden): gate rows, up rows
  readonly down: Pointer; // packed u4 (hidden, ffn)
}

/** Buffers of one forward pass; `rows` is maxRows. All f32 unless said otherwise. */
export interface ScratchPointers {
  readonly ids: Pointer; // i32 (rows)
  readonly positions: Pointer; // i32 (rows)
  readonly hidden: Pointer; // (rows, hidden): the residual stream
  readonly activations: Pointer; // activation block of the widest input
  readonly qkv: Pointer; // (rows, (heads + 2 · kvHeads) · headDim): q | k | v
  readonly attended: Pointer; // (rows, heads · headDim)
  readonly gateUp: Pointer; // (rows, 2 · ffn)
  readonly candidateIds: Pointer; // i32 (rows, CANDIDATES)
  readonly candidateLogits: Pointer; // (rows, CANDIDATES)
  readonly logSumExp: Pointer; // (rows)
  readonly head: Pointer; // HEAD_SCRATCH_BYTES
  readonly logits: Pointer; // (vocabulary)
}

export interface TransformerMemory {
  readonly embedding: Pointer; // packed u7 (vocabulary, hidden)
  readonly head: Pointer; // packed u7 (vocabulary, hidden): the embedding where they are tied
  readonly layers: readonly LayerPointers[];
  readonly finalNorm: Pointer; // f32 (hidden)
  readonly rotaryTable: Pointer; // f32 (maxPositions, headDim): cosines, sines
  readonly scratch: ScratchPointers;
  /** Row blocks of a tensor pass through here on their way into kernel layout. */
  readonly staging: Pointer;
  readonly stagingBytes: number;
  /** Rows of one pass at most. */
  readonly maxRows: number;
}
