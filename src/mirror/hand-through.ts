/** A file from its origin to one reader, kept nowhere: for when the store takes nothing. */
import { WeightsDamaged } from '../weights/errors.ts';
import { fromOrigin, hashOf, type OpenOrigin, type PullOptions } from './pull.ts';
import type { HubBlob } from './segments.ts';

interface HandThroughOptions extends Pick<PullOptions, 'segmentBytes' | 'stallMs' | 'retryDelayMs'> {
  /**
   * Told when bytes were given of a file that was not found right: wrong, or not known because it was not read to its
   * end.
   */
  onGiven: (verdict: 'wrong' | 'unknown') => Promise<void>;
}

/**
 * All bytes of a file, the last chunk when the whole has been found right; of a file that fits into a segment, the
 * first one as well.
 * @throws WeightsDamaged
 */
export async function* handThrough(
  blob: HubBlob,
  origin: OpenOrigin,
  { onGiven, ...options }: HandThroughOptions,
): AsyncGenerator<Uint8Array> {
  const hash = hashOf(blob);
  const held: Uint8Array[] = [];
  const heldAtLeast = blob.size > options.segmentBytes ? 1 : Number.POSITIVE_INFINITY;
  let given = false;
  let verdict: 'right' | 'wrong' | 'unknown' = 'unknown';
  try {
    for await (const chunk of fromOrigin(blob, origin, 0, options)) {
      hash.update(chunk);
      held.push(chunk);
      if (held.length <= heldAtLeast) continue;
      given = true;
      yield held.shift()!;
    }
    const actual = hash.digest('hex');
    verdict = actual === blob.oid ? 'right' : 'wrong';
    if (verdict === 'wrong') throw new WeightsDamaged(blob.oid, `hash ${blob.oid}`, actual);
    yield* held;
  } finally {
    if (given && verdict !== 'right') await onGiven(verdict);
  }
}
