/**
 * How many slots a canvas is opened with. A step costs what its slots cost, and of a wide canvas of pure noise little is known but the
 * first slots: canvases are narrow, and one that fills is committed and followed by another.
 */

/** Chosen from a curve of quality against cost (`npm run bench:quality`), see bench/RESULTS.md. */
export const DEFAULT_CANVAS_WIDTH = 2;

/**
 * The widest of `widths` that is no wider than `wanted`, but never wider than the narrowest that holds what may still be emitted.
 * @param widths those that the model was trained on, ascending
 * @param left tokens that may still be emitted
 */
export function canvasWidth(widths: readonly number[], left: number, wanted = DEFAULT_CANVAS_WIDTH): number {
  const widest = widths.findLastIndex((width) => width <= wanted);
  const enough = widths.findIndex((width) => width >= left);
  return widths[Math.min(Math.max(0, widest), enough < 0 ? widths.length - 1 : enough)]!;
}
