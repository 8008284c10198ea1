/**
 * How many slots a new canvas has. The cost of a step grows with its slots, and in a wide canvas of masks only the
 * first slots can be predicted well: canvases are narrow, and a full one is committed and followed by another.
 */

/**
 * The widest of `widths` up to `wanted`, but not wider than the narrowest one with room for all remaining tokens.
 * @param widths those that the model was trained on, ascending
 * @param left tokens that may still be emitted
 */
export function canvasWidth(widths: readonly number[], left: number, wanted: number): number {
  const widest = widths.findLastIndex((width) => width <= wanted);
  const enough = widths.findIndex((width) => width >= left);
  return widths[Math.min(Math.max(0, widest), enough < 0 ? widths.length - 1 : enough)]!;
}
