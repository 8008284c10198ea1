/** The source of the files of one model. */
import type { WeightsDamaged, WeightsMissing } from './errors.ts';

export interface WeightSource {
  /** Size of a file in bytes, or null if it does not exist. Undefined if it exists and its size is unknown. */
  size(file: string): Promise<number | null | undefined>;
  /**
   * The content of a file, or null when it is not there. Nothing about it is verified yet. `sha256` is what the content
   * should have, where that is known: a source may keep copies by it.
   */
  open(file: string, sha256?: string): Promise<ReadableStream<Uint8Array> | null>;
  /** Repairs what was found, if possible; true when reading again may succeed. */
  repair?(fault: WeightsMissing | WeightsDamaged): Promise<boolean>;
}
