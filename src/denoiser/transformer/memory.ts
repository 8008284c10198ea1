/** Lays out the weights and the scratch memory of a transformer in WASM memory, for any stream layout. */

import type { Arena } from './arena.ts';
import type { KernelExports } from './kernel-exports.ts';
import { PROBE_BYTES } from './kernel-probe.ts';
import { CANDIDATES, HEAD_SCRATCH_BYTES, type LayerPointers, type TransformerMemory } from './pointers.ts';
import { projectionWidths, type TransformerShape } from './shape.ts';
import { PACK_ROWS } from './tensor-sinks.ts';

/** Context tokens that one call computes at most: enough rows for the matrix products to run at full speed. */
export const PREFILL_CHUNK_TOKENS = 64;

/** What the stream layout decides. */
export interface MemorySizes {
  readonly maxRows: number;
  /** Room for row blocks, if a block of the widest tensor does not take more. */
  readonly stagingBytes: number;
}

/** Takes room for weights and scratch from the arena. */
export function planTransformer(
  arena: Arena,
  kernels: KernelExports,
  shape: TransformerShape,
  { maxRows, stagingBytes: leastStaging }: MemorySizes,
): TransformerMemory {
  const { hiddenSize, ffnSize, headDim, vocabSize, maxPositions } = shape;
  const { queryWidth, qkvWidth } = projectionWidths(shape);
  const widest = Math.max(hiddenSize, queryWidth, ffnSize);

  const embedding = arena.take(kernels.packedU7Bytes(vocabSize, hiddenSize));
  const head = shape.hasTiedHead ? embedding : arena.take(kernels.packedU7Bytes(vocabSize, hiddenSize));
  const layers = Array.from({ length: shape.layers }, () => planLayer(arena, kernels, shape));
  const finalNorm = arena.floats(hiddenSize);
  const rotaryTable = arena.floats(maxPositions * headDim);
  const scratch = {
    ids: arena.floats(maxRows),
    positions: arena.floats(maxRows),
    hidden: arena.floats(maxRows * hiddenSize),
    activations: arena.take(kernels.activationBytes(maxRows, widest)),
    qkv: arena.floats(maxRows * qkvWidth),
    attended: arena.floats(maxRows * queryWidth),
    gateUp: arena.floats(maxRows * 2 * ffnSize),
    candidateIds: arena.floats(maxRows * CANDIDATES),
    candidateLogits: arena.floats(maxRows * CANDIDATES),
    logSumExp: arena.floats(maxRows),
    head: arena.take(HEAD_SCRATCH_BYTES),
    logits: arena.floats(vocabSize),
  };
  // A row of weights has at most a byte an input; a norm or a bias is one row of floats.
  const stagingBytes = Math.max(leastStaging, PACK_ROWS * widest, PROBE_BYTES);
  const staging = arena.take(stagingBytes);
  return { embedding, head, layers, finalNorm, rotaryTable, scratch, staging, stagingBytes, maxRows };
}

function planLayer(arena: Arena, kernels: KernelExports, shape: TransformerShape): LayerPointers {
  const { hiddenSize, ffnSize, headDim, hasBiases, hasQkNorm } = shape;
  const { queryWidth, qkvWidth } = projectionWidths(shape);
  return {
    inputNorm: arena.floats(hiddenSize),
    qkv: arena.take(kernels.packedU4Bytes(qkvWidth, hiddenSize)),
    qkvBias: hasBiases ? arena.floats(qkvWidth) : 0,
    qNorm: hasQkNorm ? arena.floats(headDim) : 0,
    kNorm: hasQkNorm ? arena.floats(headDim) : 0,
    output: arena.take(kernels.packedU4Bytes(hiddenSize, queryWidth)),
    postAttentionNorm: arena.floats(hiddenSize),
    gateUp: arena.take(kernels.packedU4Bytes(2 * ffnSize, hiddenSize)),
    down: arena.take(kernels.packedU4Bytes(hiddenSize, ffnSize)),
  };
}
