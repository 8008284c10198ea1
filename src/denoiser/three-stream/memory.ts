/**
 * The memory of a three-stream denoiser: weights and scratch as every transformer has them, queries, scores and
 * contexts.
 */

import { Arena } from '../transformer/arena.ts';
import type { KernelExports, Pointer } from '../transformer/kernel-exports.ts';
import { PREFILL_CHUNK_TOKENS, planTransformer } from '../transformer/memory.ts';
import type { ScratchPointers, TransformerMemory } from '../transformer/pointers.ts';
import { type DenoiserConfig, maxOutputTokens } from './config.ts';
import { pagesOf } from './kv-cache.ts';

/** Rows that the canvases and chunks of one pass may have together, if a canvas and a chunk do not have more. */
const PASS_ROWS = 128;
/**
 * Contexts are added up to this size of the memory: an isolate has 128 MB, of which code, tokenizer, requests and the
 * runtime's own heap take some 20 (measured by `npm run bench:cold`).
 */
export const LARGEST_MEMORY_BYTES = 104 * 2 ** 20;
const STAGING_BYTES = 65_536;
/** There are as many contexts of a kind as their pages would fill at this length, in pages. */
const SHORT_CONTEXT_PAGES = 4;
/** As many requests can hold contexts at a time, if they are short. */
const LEAST_CONTEXTS = 8;
/** Finding one looks at all of them. */
const MOST_CONTEXTS = 128;

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
  /** Tables of the pages of each context: u32 (capacity / BLOCK_TOKENS, rounded up). */
  readonly prefixTables: readonly Pointer[];
  readonly suffixTables: readonly Pointer[];
  /** Pages of keys and values, one after the other: (pages, pageBytes). */
  readonly pagesStart: Pointer;
  readonly pages: number;
  readonly pageBytes: number;
  /** End of the plan: the size the memory must have. */
  readonly bytes: number;
}

/**
 * Lays out a denoiser from `start` on, with as many pages of keys and values as fit `cacheBytes`, and with all else
 * `memoryBytes`; at least those of one full prefix and suffix.
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
  const pagesOfPair = pagesOf(prefixCapacity) + pagesOf(suffixCapacity);
  const attendedQueries = (Math.max(PREFILL_CHUNK_TOKENS, canvasSlots) * config.heads) / config.kvHeads;
  const scratch = {
    ...transformer.scratch,
    suffixPositions: arena.floats(maxRows),
    queries: arena.take(kernels.queryBytes(attendedQueries, headDim)),
    suffixQueries: arena.take(kernels.queryBytes(attendedQueries, headDim)),
    scores: arena.take(kernels.attentionScratchBytes(pagesOfPair)),
  };

  const pageBytes = config.layers * config.kvHeads * kernels.blockBytes(headDim);
  const pagesIn = (bytes: number) => Math.max(pagesOfPair, Math.floor(bytes / pageBytes));
  const wanted = Math.floor(pagesIn(Math.min(cacheBytes, memoryBytes - arena.end)) / SHORT_CONTEXT_PAGES);
  const contexts = Math.min(MOST_CONTEXTS, Math.max(LEAST_CONTEXTS, wanted));
  const tables = (capacity: number) => Array.from({ length: contexts }, () => arena.floats(pagesOf(capacity)));
  const [prefixTables, suffixTables] = [tables(prefixCapacity), tables(suffixCapacity)];
  const pages = pagesIn(Math.min(cacheBytes, memoryBytes - arena.end));
  const pagesStart = arena.take(pages * pageBytes);
  return {
    ...transformer,
    scratch,
    prefixCapacity,
    suffixCapacity,
    prefixTables,
    suffixTables,
    pagesStart,
    pages,
    pageBytes,
    bytes: arena.end,
  };
}
