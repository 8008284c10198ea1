/**
 * The memory of a three-stream denoiser: weights and scratch as every transformer has them, queries, scores and
 * contexts.
 */

import { Arena } from '../transformer/arena.ts';
import type { KernelExports, Pointer } from '../transformer/kernel-exports.ts';
import { PREFILL_CHUNK_TOKENS, planTransformer } from '../transformer/memory.ts';
import type { ScratchPointers, TransformerMemory } from '../transformer/pointers.ts';
import { type DenoiserConfig, maxOutputTokens, nearWindow } from './config.ts';

/** Rows that the canvases and chunks of one pass may have together, if a canvas and a chunk do not have more. */
const PASS_ROWS = 128;
/** Keys and values are stored in blocks of this many tokens. */
export const CACHE_BLOCK = 32;
/**
 * Contexts are added up to this size of the memory: an isolate has 128 MB, of which code, tokenizer, requests and the
 * runtime's own heap take some 20 (measured by `npm run bench:cold`).
 */
export const LARGEST_MEMORY_BYTES = 104 * 2 ** 20;
const STAGING_BYTES = 65_536;

export interface ThreeStreamScratch extends ScratchPointers {
  readonly suffixPositions: Pointer; // i32 (rows)
  readonly queries: Pointer; // query block of one key/value head: (rows of one canvas or chunk) · (heads / kvHeads)
  readonly suffixQueries: Pointer; // the same, rotated for the suffix
  readonly scores: Pointer; // scratch of attention
}

export interface ThreeStreamPlan extends TransformerMemory {
  readonly scratch: ThreeStreamScratch;
  /** Tokens of a prefix context: marker, text, output and canvas. */
  readonly prefixCapacity: number;
  /** Tokens of a suffix context: text and marker. */
  readonly suffixCapacity: number;
  /** Tokens of a prefix context of the near window, 0 if there is none: marker, text, output and canvas. */
  readonly nearCapacity: number;
  readonly prefixContexts: readonly Pointer[];
  readonly suffixContexts: readonly Pointer[];
  /** One for each pair, if the model has a near window. */
  readonly nearContexts: readonly Pointer[];
  /** End of the plan: the size the memory must have. */
  readonly bytes: number;
}

/**
 * Lays out a denoiser from `start` on, with as many pairs of contexts as fit `cacheBytes`, and with all else
 * `memoryBytes`; at least one.
 */
export function planMemory(
  kernels: KernelExports,
  config: DenoiserConfig,
  start: Pointer,
  cacheBytes: number,
  memoryBytes = LARGEST_MEMORY_BYTES,
): ThreeStreamPlan {
  const arena = new Arena(start);
  const { headDim } = config;
  const { canvasSlots, prefixTokens, suffixTokens } = config.diffusion;
  // At least a canvas and a chunk.
  const maxRows = Math.max(PASS_ROWS, PREFILL_CHUNK_TOKENS + canvasSlots);
  const transformer = planTransformer(arena, kernels, config, { maxRows, stagingBytes: STAGING_BYTES });

  const prefixCapacity = 1 + prefixTokens + maxOutputTokens(config);
  const suffixCapacity = 1 + suffixTokens;
  const blocks = Math.ceil(prefixCapacity / CACHE_BLOCK) + Math.ceil(suffixCapacity / CACHE_BLOCK);
  const attendedQueries = (Math.max(PREFILL_CHUNK_TOKENS, canvasSlots) * config.heads) / config.kvHeads;
  const scratch = {
    ...transformer.scratch,
    suffixPositions: arena.floats(maxRows),
    queries: arena.take(kernels.queryBytes(attendedQueries, headDim)),
    suffixQueries: arena.take(kernels.queryBytes(attendedQueries, headDim)),
    scores: arena.take(kernels.attentionScratchBytes(blocks)),
  };

  const contextBytes = (capacity: number) => config.layers * config.kvHeads * kernels.cacheBytes(capacity, headDim);
  const prefixBytes = contextBytes(prefixCapacity);
  const suffixBytes = contextBytes(suffixCapacity);
  const near = nearWindow(config);
  const nearCapacity = near ? 1 + near.prefixTokens + near.outputTokens + canvasSlots : 0;
  const nearBytes = near ? contextBytes(nearCapacity) : 0;
  const room = Math.min(cacheBytes, memoryBytes - arena.end);
  const pairs = Math.max(1, Math.floor(room / (prefixBytes + suffixBytes + nearBytes)));
  const prefixContexts = Array.from({ length: pairs }, () => arena.take(prefixBytes));
  const suffixContexts = Array.from({ length: pairs }, () => arena.take(suffixBytes));
  const nearContexts = Array.from({ length: near ? pairs : 0 }, () => arena.take(nearBytes));
  return {
    ...transformer,
    scratch,
    prefixCapacity,
    suffixCapacity,
    nearCapacity,
    prefixContexts,
    suffixContexts,
    nearContexts,
    bytes: arena.end,
  };
}
