/** Where weights, keys and values, and scratch of a single-stream denoiser lie in WASM memory: laid out once, from the config alone. */

import {
  Arena,
  CANDIDATES,
  FLOAT_BYTES,
  HEAD_SCRATCH_BYTES,
  type LayerPointers,
  PACK_ROWS,
  roundUp,
} from '../transformer/arena.ts';
import type { KernelExports, Pointer } from '../transformer/kernel-exports.ts';
import type { SingleStreamConfig } from './config.ts';

/** Rows that one call reads of a context, rounded down to whole blocks: enough for the matrix products to run at full speed. */
export const PREFILL_CHUNK_TOKENS = 64;
/** Keys lie in tiles of this many tokens. */
const KEY_TILE = 8;
/** Row blocks of a tensor pass through here; large matrices come in large blocks. */
const STAGING_BYTES = 2 ** 20;

/** The weights of one layer; those of QK-norm are empty where there is none. */
export interface SingleStreamLayer extends LayerPointers {
  readonly qkvBias: Pointer; // f32 ((heads + 2 · kvHeads) · headDim), where there are biases
}

export interface SingleStreamPlan {
  readonly embedding: Pointer; // packed u7 (vocabulary, hidden)
  readonly head: Pointer; // the same, or another one
  readonly layers: readonly SingleStreamLayer[];
  readonly finalNorm: Pointer; // f32 (hidden)
  readonly rotaryTable: Pointer; // f32 (maxPositions, headDim): cosines, sines
  readonly staging: Pointer;
  readonly stagingBytes: number;
  /** Keys and values of one head: f32 tiles of 8 tokens (positions/8, headDim, 8), then f32 (positions, headDim). */
  readonly cache: Pointer;
  readonly cacheHeadBytes: number;
  /** Layers that have keys and values of their own: all, or 1 where none outlives its layer. */
  readonly cacheLayers: number;
  /** Rows of one pass at most. */
  readonly maxRows: number;
  readonly scoreStride: number;
  /** `rows` is maxRows; all f32 unless said otherwise. */
  readonly scratch: {
    readonly ids: Pointer; // i32 (rows)
    readonly positions: Pointer; // i32 (rows)
    readonly hidden: Pointer; // (rows, hidden): the residual stream
    readonly activations: Pointer; // activation block of the widest input
    readonly qkv: Pointer; // (rows, (heads + 2 · kvHeads) · headDim)
    readonly scores: Pointer; // (rows, scoreStride), of one head
    readonly attended: Pointer; // (rows, heads · headDim)
    readonly gateUp: Pointer; // (rows, 2 · ffn)
    readonly candidateIds: Pointer; // i32 (rows, CANDIDATES)
    readonly candidateLogits: Pointer; // (rows, CANDIDATES)
    readonly logSumExp: Pointer; // (rows)
    readonly head: Pointer; // HEAD_SCRATCH_BYTES
    readonly headBytes: number;
    readonly logits: Pointer; // (vocabulary)
  };
  /** End of the plan: the size the memory must have. */
  readonly bytes: number;
}

/** Lays out a denoiser from `start` on. */
export function planSingleStream(kernels: KernelExports, config: SingleStreamConfig, start: Pointer): SingleStreamPlan {
  const layout = new Arena(start);
  const take = (bytes: number) => layout.take(bytes);
  const floats = (count: number) => layout.take(count * FLOAT_BYTES);
  const { hiddenSize, ffnSize, headDim, vocabSize, maxPositions, diffusion } = config;
  const queryWidth = config.heads * headDim;
  const qkvWidth = queryWidth + 2 * config.kvHeads * headDim;
  const isBidirectional = diffusion.attention === 'bidirectional';

  const embedding = take(kernels.packedU7Bytes(vocabSize, hiddenSize));
  const head = config.hasTiedHead ? embedding : take(kernels.packedU7Bytes(vocabSize, hiddenSize));
  const layers = Array.from({ length: config.layers }, () => ({
    inputNorm: floats(hiddenSize),
    qkv: take(kernels.packedU4Bytes(qkvWidth, hiddenSize)),
    qkvBias: floats(config.hasBiases ? qkvWidth : 0),
    qNorm: floats(config.hasQkNorm ? headDim : 0),
    kNorm: floats(config.hasQkNorm ? headDim : 0),
    output: take(kernels.packedU4Bytes(hiddenSize, queryWidth)),
    postAttentionNorm: floats(hiddenSize),
    gateUp: take(kernels.packedU4Bytes(2 * ffnSize, hiddenSize)),
    down: take(kernels.packedU4Bytes(hiddenSize, ffnSize)),
  }));
  const finalNorm = floats(hiddenSize);
  const rotaryTable = floats(maxPositions * headDim);

  // All of the stream, or a chunk of the context; with shifted logits a canvas has a whole block before it.
  const { blockSize, canvasSlots } = diffusion;
  const maxRows = isBidirectional ? maxPositions : Math.max(PREFILL_CHUNK_TOKENS, 2 * blockSize + canvasSlots);
  const capacity = roundUp(maxPositions, KEY_TILE);
  const scoreStride = capacity + KEY_TILE;
  const widest = Math.max(hiddenSize, queryWidth, ffnSize);
  const scratch = {
    ids: floats(maxRows),
    positions: floats(maxRows),
    hidden: floats(maxRows * hiddenSize),
    activations: take(kernels.activationBytes(maxRows, widest)),
    qkv: floats(maxRows * qkvWidth),
    scores: floats(maxRows * scoreStride),
    attended: floats(maxRows * queryWidth),
    gateUp: floats(maxRows * 2 * ffnSize),
    candidateIds: floats(maxRows * CANDIDATES),
    candidateLogits: floats(maxRows * CANDIDATES),
    logSumExp: floats(maxRows),
    head: take(HEAD_SCRATCH_BYTES),
    headBytes: HEAD_SCRATCH_BYTES,
    logits: floats(vocabSize),
  };
  const stagingBytes = Math.max(STAGING_BYTES, 2 * PACK_ROWS * widest);
  const staging = take(stagingBytes);
  const cacheHeadBytes = 2 * capacity * headDim * FLOAT_BYTES;
  const cacheLayers = isBidirectional ? 1 : config.layers;
  const cache = take(cacheLayers * config.kvHeads * cacheHeadBytes);

  return {
    embedding,
    head,
    layers,
    finalNorm,
    rotaryTable,
    staging,
    stagingBytes,
    cache,
    cacheHeadBytes,
    cacheLayers,
    maxRows,
    scoreStride,
    scratch,
    bytes: layout.end,
  };
}
