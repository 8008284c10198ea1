/** Streams a file from its origin to one reader without storing it: for a store that cannot be written to. */
import { WeightsDamaged } from '../weights/errors.ts';
import { fromOrigin, hashOf, type OpenOrigin, type PullOptions } from './pull.ts';
import type { HubBlob } from './segments.ts';

interface HandThroughOptions extends Pick<PullOptions, 'segmentBytes' | 'stallMs' | 'retryDelayMs'> {
  /** Called when unverified bytes of a file were sent: they were wrong, or the file was not read to its end. */
  onGiven: (verdict: 'wrong' | 'unknown') => Promise<void>;
}

/**
 * All bytes of a file; the last chunk is sent after the whole file is verified. Of a file that fits into one segment
 * nothing is sent before that.
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
