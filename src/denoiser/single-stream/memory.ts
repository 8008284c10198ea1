/**
 * The memory of a single-stream denoiser: weights and scratch as every transformer has them, scores, keys and values.
 */

import { Arena, FLOAT_BYTES, roundUp } from '../transformer/arena.ts';
import type { KernelExports, Pointer } from '../transformer/kernel-exports.ts';
import { PREFILL_CHUNK_TOKENS, planTransformer } from '../transformer/memory.ts';
import type { TransformerMemory } from '../transformer/pointers.ts';
import type { SingleStreamConfig } from './config.ts';

/** Keys are stored in tiles of this many tokens. */
const KEY_TILE = 8;
/** Large matrices are read in large blocks. */
const STAGING_BYTES = 2 ** 20;

export interface SingleStreamPlan extends TransformerMemory {
  readonly scores: Pointer; // f32 (maxRows, scoreStride), of one head
  readonly scoreStride: number;
  /** Keys and values of one head: f32 tiles of 8 tokens (positions/8, headDim, 8), then f32 (positions, headDim). */
  readonly cache: Pointer;
  readonly cacheHeadBytes: number;
  /** Layers with their own keys and values: all, or 1 if they are not needed after their layer. */
  readonly cacheLayers: number;
  /** End of the plan: the size the memory must have. */
  readonly bytes: number;
}

/** Lays out a denoiser from `start` on. */
export function planSingleStream(kernels: KernelExports, config: SingleStreamConfig, start: Pointer): SingleStreamPlan {
  const arena = new Arena(start);
  const { attention, blockSize, canvasSlots } = config.diffusion;
  const isBidirectional = attention === 'bidirectional';
  // All of the stream, or a chunk of the context; with shifted logits a canvas has a whole block before it.
  const maxRows = isBidirectional ? config.maxPositions : Math.max(PREFILL_CHUNK_TOKENS, 2 * blockSize + canvasSlots);
  const transformer = planTransformer(arena, kernels, config, { maxRows, stagingBytes: STAGING_BYTES });
  const capacity = roundUp(config.maxPositions, KEY_TILE);
  const scoreStride = capacity + KEY_TILE;
  const scores = arena.floats(maxRows * scoreStride);
  const cacheHeadBytes = 2 * capacity * config.headDim * FLOAT_BYTES;
  const cacheLayers = isBidirectional ? 1 : config.layers;
  const cache = arena.take(cacheLayers * config.kvHeads * cacheHeadBytes);
  return { ...transformer, scores, scoreStride, cache, cacheHeadBytes, cacheLayers, bytes: arena.end };
}
