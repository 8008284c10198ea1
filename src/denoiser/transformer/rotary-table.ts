/** Cosines and sines of the rotary embedding (RoFormer, arXiv 2104.09864), for positions 0 to maxPositions - 1. */

import type { TransformerShape } from './shape.ts';

type RotaryShape = Pick<TransformerShape, 'headDim' | 'ropeTheta' | 'maxPositions'>;

/** f32 (maxPositions, headDim): headDim/2 cosines, then headDim/2 sines of position · theta^(-2d/headDim). */
export function rotaryTable({ maxPositions, headDim, ropeTheta }: RotaryShape): Float32Array {
  const half = headDim / 2;
  const table = new Float32Array(maxPositions * headDim);
  for (let d = 0; d < half; d++) {
    // Angles are rounded as PyTorch rounds them: at position 1,000 float32 is off by up to 3e-5.
    const frequency = Math.fround(ropeTheta ** ((-2 * d) / headDim));
    for (let position = 0; position < maxPositions; position++) {
      const angle = Math.fround(position * frequency);
      table[position * headDim + d] = Math.cos(angle);
      table[position * headDim + half + d] = Math.sin(angle);
    }
  }
  return table;
}
