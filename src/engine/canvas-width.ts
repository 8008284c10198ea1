/**
 * How many slots a canvas is opened with. A step costs what its slots cost, and most completions are short: the first canvas is narrow,
 * and one that fills is committed and followed by another.
 */

/** Chosen from a curve of quality against cost (`npm run bench:quality`), see bench/RESULTS.md. */
export const DEFAULT_WIDTHS: WidthPolicy = { firstWidth: 4, widens: false };

export interface WidthPolicy {
  /** The first canvas is the widest that is no wider. */
  firstWidth: number;
  /** Each canvas that fills is followed by one of the next width; otherwise by one of the same. */
  widens: boolean;
}

/**
 * Width of canvas number `block` of a completion, never wider than the narrowest that holds what may still be emitted.
 * @param widths those that the model was trained on, ascending
 * @param left tokens that may still be emitted
 */
export function canvasWidth(
  widths: readonly number[],
  block: number,
  left: number,
  { firstWidth, widens }: WidthPolicy,
): number {
  const first = Math.max(
    0,
    widths.findLastIndex((width) => width <= firstWidth),
  );
  const enough = widths.findIndex((width) => width >= left);
  const widest = enough < 0 ? widths.length - 1 : enough;
  return widths[Math.min(widens ? first + block : first, widest)]!;
}
