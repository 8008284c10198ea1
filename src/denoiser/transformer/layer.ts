/**
 * One layer of Qwen2 or Qwen3 without its attention, which is the stream layout's: the projections before it, the
 * output projection and SwiGLU after it. Activations are quantized before every linear layer, row by row.
 */

import type { KernelExports } from './kernel-exports.ts';
import type { LayerPointers, ScratchPointers } from './pointers.ts';
import { projectionWidths, type TransformerShape } from './shape.ts';

/**
 * `hidden` → queries, keys and values in `qkv`, neither normed nor rotated: that is done where they are stored or used.
 */
export function projectLayer(
  kernels: KernelExports,
  shape: TransformerShape,
  { inputNorm, qkv: weights, qkvBias }: LayerPointers,
  { hidden, activations, qkv }: ScratchPointers,
  rows: number,
): void {
  const { hiddenSize, normEps } = shape;
  const { qkvWidth } = projectionWidths(shape);
  kernels.rmsNormQuantizeRows(hidden, inputNorm, rows, hiddenSize, normEps, activations);
  kernels.matmulU4(activations, rows, hiddenSize, weights, qkvWidth, qkv, 0);
  if (qkvBias !== 0) kernels.addBias(qkv, rows, qkvWidth, qkvWidth, qkvBias);
}

/** `attended` → `hidden`, the residual stream: output projection and SwiGLU are both added to it. */
export function finishLayer(
  kernels: KernelExports,
  shape: TransformerShape,
  { output, postAttentionNorm, gateUp, down }: LayerPointers,
  { hidden, attended, activations, gateUp: gates }: ScratchPointers,
  rows: number,
): void {
  const { hiddenSize, ffnSize, normEps } = shape;
  const { queryWidth } = projectionWidths(shape);
  kernels.quantizeRows(attended, rows, queryWidth, activations);
  kernels.matmulU4(activations, rows, queryWidth, output, hiddenSize, hidden, 1);
  kernels.rmsNormQuantizeRows(hidden, postAttentionNorm, rows, hiddenSize, normEps, activations);
  kernels.matmulU4(activations, rows, hiddenSize, gateUp, 2 * ffnSize, gates, 0);
  kernels.swigluQuantizeRows(gates, rows, ffnSize, activations);
  kernels.matmulU4(activations, rows, ffnSize, down, hiddenSize, hidden, 1);
}
