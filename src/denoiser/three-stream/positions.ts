/**
 * The rotary positions of the three streams. With its marker a prefix of P tokens has the positions 0 to P, and the
 * rows of a canvas those after it; of a shifted canvas the first row is the last token of the prefix, which is not in
 * the stream then. A query of the canvas is rotated twice: for prefix and canvas by one position, for the suffix by
 * another.
 *
 * A backward suffix is read from its end: its marker has position 0, its last token -1, and the token next to the
 * canvas -S. A forward suffix is read from the cursor on, from position 0. Either way the last row of a canvas is one
 * position before the nearest token of the suffix stream.
 */

import type { DenoiserConfig } from './config.ts';
import type { KvCache, StreamKind } from './kv-cache.ts';

export type SuffixOrder = DenoiserConfig['diffusion']['suffixOrder'];

/** Position of token `index` of a context, the marker being token 0. */
export function contextPosition(kind: StreamKind, index: number, suffixOrder: SuffixOrder): number {
  return kind === 'prefix' || suffixOrder === 'forward' ? index : -index;
}

/** Position of a row as prefix and canvas see it. @param seen tokens of the prefix, its marker included */
export function rowPosition(seen: number, row: number): number {
  return seen + row;
}

/**
 * Position of a row as the suffix sees it.
 * @param width slots that the canvas was opened with, dropped ones included
 */
export function rowPositionBeforeSuffix(suffix: KvCache, row: number, width: number, suffixOrder: SuffixOrder): number {
  const nearest = suffixOrder === 'forward' ? 0 : 1 - suffix.length;
  return nearest + row - width;
}
