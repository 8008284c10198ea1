/**
 * The memory plan: where weights, contexts and scratch of a denoiser lie in WASM memory. Everything is laid out once,
 * from the config alone; a forward pass never allocates.
 */

import {
  Arena,
  CANDIDATES,
  FLOAT_BYTES,
  HEAD_SCRATCH_BYTES,
  type LayerPointers,
  PACK_ROWS,
} from '../transformer/arena.ts';
import type { KernelExports, Pointer } from '../transformer/kernel-exports.ts';
import type { DenoiserConfig } from './config.ts';

/** Context tokens that one call to `Denoiser.extend` computes at most: enough rows for the matmuls to run at full speed. */
export const CHUNK_TOKENS = 64;
/** Rows that the canvases and chunks of one pass may have together, if a canvas and a chunk do not have more. */
const PASS_ROWS = 128;
/** Keys and values lie in blocks of this many tokens. */
export const CACHE_BLOCK = 32;
/**
 * Contexts are added up to this size of the memory: an isolate has 128 MB, of which code, tokenizer, requests and the runtime's own
 * heap take some 20 (measured by `npm run bench:cold`).
 */
const LARGEST_MEMORY_BYTES = 104 * 2 ** 20;
/** Row blocks of a tensor pass through here on their way into kernel layout. */
const STAGING_BYTES = 65_536;

/** Buffers of one forward pass; `rows` is `maxRows`. All f32 unless said otherwise. */
export interface ScratchPointers {
  readonly ids: Pointer; // i32 (rows)
  readonly positions: Pointer; // i32 (rows)
  readonly suffixPositions: Pointer; // i32 (rows)
  readonly hidden: Pointer; // (rows, hidden): the residual stream
  readonly activations: Pointer; // activation block of the widest input
  readonly qkv: Pointer; // (rows, (heads + 2 · kvHeads) · headDim)
  readonly queries: Pointer; // query block of one key/value head: (rows of one canvas or chunk) · (heads / kvHeads)
  readonly suffixQueries: Pointer; // the same, rotated for the suffix
  readonly scores: Pointer; // scratch of attention
  readonly attended: Pointer; // (rows, heads · headDim)
  readonly gateUp: Pointer; // (rows, 2 · ffn)
  readonly candidateIds: Pointer; // i32 (rows, CANDIDATES)
  readonly candidateLogits: Pointer; // (rows, CANDIDATES)
  readonly logSumExp: Pointer; // (rows)
  readonly head: Pointer; // HEAD_SCRATCH_BYTES
  readonly headBytes: number;
  readonly logits: Pointer; // (vocabulary)
}

export interface MemoryPlan {
  readonly embedding: Pointer; // packed u7 (vocabulary, hidden), also the head
  readonly layers: readonly LayerPointers[];
  readonly finalNorm: Pointer; // f32 (hidden)
  readonly rotaryTable: Pointer; // f32 (maxPositions, headDim): cosines, sines
  readonly scratch: ScratchPointers;
  readonly staging: Pointer;
  readonly stagingBytes: number;
  /** Rows of one pass: at least a canvas and a chunk. */
  readonly maxRows: number;
  /** Tokens of a prefix context: marker, text, output and canvas. */
  readonly prefixCapacity: number;
  /** Tokens of a suffix context: text and marker. */
  readonly suffixCapacity: number;
  /** Tokens that fit behind a full prefix, a multiple of the canvas. */
  readonly maxOutputTokens: number;
  readonly prefixContexts: readonly Pointer[];
  readonly suffixContexts: readonly Pointer[];
  /** End of the plan: the size the memory must have. */
  readonly bytes: number;
}

/**
 * Lays out a denoiser from `start` on, with as many pairs of contexts as fit `cacheBytes` and LARGEST_MEMORY_BYTES, but at least
 * one.
 */
export function planMemory(
  kernels: KernelExports,
  config: DenoiserConfig,
  start: Pointer,
  cacheBytes: number,
): MemoryPlan {
  const layout = new Arena(start);
  const take = (bytes: number) => layout.take(bytes);
  const floats = (count: number) => layout.take(count * FLOAT_BYTES);
  const { hiddenSize, ffnSize, headDim, vocabSize, maxPositions, diffusion } = config;
  const queryWidth = config.heads * headDim;
  const qkvWidth = queryWidth + 2 * config.kvHeads * headDim;

  const embedding = take(kernels.packedU7Bytes(vocabSize, hiddenSize));
  const layers = Array.from({ length: config.layers }, () => ({
    inputNorm: floats(hiddenSize),
    qkv: take(kernels.packedU4Bytes(qkvWidth, hiddenSize)),
    qNorm: floats(headDim),
    kNorm: floats(headDim),
    output: take(kernels.packedU4Bytes(hiddenSize, queryWidth)),
    postAttentionNorm: floats(hiddenSize),
    gateUp: take(kernels.packedU4Bytes(2 * ffnSize, hiddenSize)),
    down: take(kernels.packedU4Bytes(hiddenSize, ffnSize)),
  }));
  const finalNorm = floats(hiddenSize);
  const rotaryTable = floats(maxPositions * headDim);

  const { canvasSlots, prefixTokens, suffixTokens } = diffusion;
  const maxOutputTokens = Math.floor((maxPositions - 1 - prefixTokens) / canvasSlots) * canvasSlots;
  const prefixCapacity = 1 + prefixTokens + maxOutputTokens;
  const suffixCapacity = 1 + suffixTokens;
  const blocks = Math.ceil(prefixCapacity / CACHE_BLOCK) + Math.ceil(suffixCapacity / CACHE_BLOCK);
  const attendedQueries = (Math.max(CHUNK_TOKENS, canvasSlots) * config.heads) / config.kvHeads;
  const maxRows = Math.max(PASS_ROWS, CHUNK_TOKENS + canvasSlots);
  const widest = Math.max(hiddenSize, queryWidth, ffnSize);
  const scratch = {
    ids: floats(maxRows),
    positions: floats(maxRows),
    suffixPositions: floats(maxRows),
    hidden: floats(maxRows * hiddenSize),
    activations: take(kernels.activationBytes(maxRows, widest)),
    qkv: floats(maxRows * qkvWidth),
    queries: take(kernels.queryBytes(attendedQueries, headDim)),
    suffixQueries: take(kernels.queryBytes(attendedQueries, headDim)),
    scores: take(kernels.attentionScratchBytes(blocks)),
    attended: floats(maxRows * queryWidth),
    gateUp: floats(maxRows * 2 * ffnSize),
    candidateIds: floats(maxRows * CANDIDATES),
    candidateLogits: floats(maxRows * CANDIDATES),
    logSumExp: floats(maxRows),
    head: take(HEAD_SCRATCH_BYTES),
    headBytes: HEAD_SCRATCH_BYTES,
    logits: floats(vocabSize),
  };
  // A row of weights has at most a byte an input; a norm is one row of floats.
  const stagingBytes = Math.max(STAGING_BYTES, PACK_ROWS * widest);
  const staging = take(stagingBytes);

  const contextBytes = (capacity: number) => config.layers * config.kvHeads * kernels.cacheBytes(capacity, headDim);
  const prefixBytes = contextBytes(prefixCapacity);
  const suffixBytes = contextBytes(suffixCapacity);
  const room = Math.min(cacheBytes, LARGEST_MEMORY_BYTES - layout.end);
  const pairs = Math.max(1, Math.floor(room / (prefixBytes + suffixBytes)));
  const prefixContexts = Array.from({ length: pairs }, () => take(prefixBytes));
  const suffixContexts = Array.from({ length: pairs }, () => take(suffixBytes));

  return {
    embedding,
    layers,
    finalNorm,
    rotaryTable,
    scratch,
    staging,
    stagingBytes,
    maxRows,
    prefixCapacity,
    suffixCapacity,
    maxOutputTokens,
    prefixContexts,
    suffixContexts,
    bytes: layout.end,
  };
}
