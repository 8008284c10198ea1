/** What is behind attention in a layer of every network here: output projection and SwiGLU, both added to the residual stream. */

import type { Pointer } from './kernel-exports.ts';
import type { Kernels } from './kernels.ts';

interface LayerShapes {
  readonly hiddenSize: number;
  readonly ffnSize: number;
  readonly heads: number;
  readonly headDim: number;
  readonly normEps: number;
}

/** Packed u4 matrices (outputs, inputs), and a norm of f32 (hidden). */
interface LayerWeights {
  readonly output: Pointer; // (hidden, heads · headDim)
  readonly postAttentionNorm: Pointer;
  readonly gateUp: Pointer; // (2 · ffn, hidden)
  readonly down: Pointer; // (hidden, ffn)
}

interface LayerScratch {
  readonly hidden: Pointer; // f32 (rows, hidden): the residual stream
  readonly attended: Pointer; // f32 (rows, heads · headDim): what attention has mixed
  readonly gateUp: Pointer; // f32 (rows, 2 · ffn)
  readonly activations: Pointer; // activation block of the widest input
}

/** `attended` → `hidden`. */
export function finishLayer(
  kernels: Kernels,
  { hiddenSize, ffnSize, heads, headDim, normEps }: LayerShapes,
  { output, postAttentionNorm, gateUp, down }: LayerWeights,
  { hidden, attended, activations, gateUp: gates }: LayerScratch,
  rows: number,
): void {
  const queryWidth = heads * headDim;
  kernels.quantizeRows(attended, rows, queryWidth, activations);
  kernels.matmulU4(activations, rows, queryWidth, output, hiddenSize, hidden, 1);
  kernels.rmsNormQuantizeRows(hidden, postAttentionNorm, rows, hiddenSize, normEps, activations);
  kernels.matmulU4(activations, rows, hiddenSize, gateUp, 2 * ffnSize, gates, 0);
  kernels.swigluQuantizeRows(gates, rows, ffnSize, activations);
  kernels.matmulU4(activations, rows, ffnSize, down, hiddenSize, hidden, 1);
}
