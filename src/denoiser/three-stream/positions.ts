/**
 * The rotary positions of the three streams. With its marker a prefix of P tokens has the positions 0 to P, and the
 * canvas those after it. The suffix is read backwards: its marker has position 0, its last token -1, and the token next
 * to the canvas -S. A query of the canvas is therefore rotated twice: for prefix and canvas by one position, for the
 * suffix by another.
 */

import type { KvCache, StreamKind } from './kv-cache.ts';

/** Position of token `index` of a context, the marker being token 0. */
export function contextPosition(kind: StreamKind, index: number): number {
  return kind === 'prefix' ? index : -index;
}

/** Position of a slot as prefix and canvas see it. */
export function slotPosition(prefix: KvCache, slot: number): number {
  return prefix.length + slot;
}

/**
 * Position of a slot as the suffix sees it.
 * @param width slots that the canvas was opened with, dropped ones included
 */
export function slotPositionBeforeSuffix(suffix: KvCache, slot: number, width: number): number {
  return 1 - suffix.length + slot - width;
}
