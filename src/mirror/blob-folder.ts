/**
 * The stored parts of one file, and a record of wrong bytes that clients have received. A client whose download broke
 * resumes with `Range` after the bytes that it has. As long as no wrong byte was sent, any range may be answered; after
 * that, the end of the file is only sent together with its beginning.
 */
import type { Bytes, WritableStore } from '../weights/store.ts';
import { writing } from './errors.ts';
import {
  type BlobIndex,
  folderName,
  type HubBlob,
  indexName,
  indexSchema,
  parseSegmentName,
  recallName,
  segmentCount,
  segmentName,
  segmentSize,
} from './segments.ts';

export class BlobFolder {
  readonly #store: WritableStore;
  /** Files of which wrong bytes were sent while the record of it could not be stored. */
  readonly #recalled = new Set<string>();
  /** Files of which bytes were sent that will never be verified. */
  readonly #doubted = new Set<string>();

  constructor(store: WritableStore) {
    this.#store = store;
  }

  /** Undefined when the file is not there, or not whole. */
  async index(blob: HubBlob): Promise<BlobIndex | undefined> {
    const object = await this.#store.get(indexName(blob));
    if (object === null) return undefined;
    const text = await new Response(object.stream).text();
    try {
      const index = indexSchema.parse(JSON.parse(text));
      const count = segmentCount(blob, index.segmentBytes);
      return index.size === blob.size && index.sha256.length === count ? index : undefined;
    } catch {
      return undefined;
    }
  }

  /**
   * Marks the file as complete and verified. Another process may have sent segments of other content in the meantime.
   */
  async complete(blob: HubBlob, index: BlobIndex): Promise<void> {
    await writing(this.#store.put(indexName(blob), json(index)));
    await this.#checkStrays(blob, index, await this.#names(blob));
  }

  /**
   * The hashes of segments that are there with the right size: one each, but where several processes got different
   * ones.
   */
  async segments(blob: HubBlob, segmentBytes: number): Promise<Map<number, string>> {
    const found = new Map<number, string>();
    for (const { name, size } of await this.#store.list(folderName(blob))) {
      const parsed = parseSegmentName(blob, name);
      const isRight = parsed && (size === undefined || size === segmentSize(blob, parsed.segment, segmentBytes));
      if (isRight && !found.has(parsed.segment)) found.set(parsed.segment, parsed.sha256);
    }
    return found;
  }

  /** Whether the end of the file may be sent to a client that already has its beginning. */
  async mayBeResumed(blob: HubBlob, index: BlobIndex | undefined): Promise<boolean> {
    const names = await this.#names(blob);
    if (names.includes(recallName(blob)) || this.#doubted.has(blob.oid)) return false;
    if (this.#recalled.has(blob.oid)) {
      await this.recall(blob);
      return false;
    }
    return index === undefined || !(await this.#checkStrays(blob, index, names));
  }

  /**
   * Records that wrong bytes were sent. Call it before the wrong bytes are deleted, and delete them only if it returns
   * true: then the record is in the store, where all processes read it.
   */
  async recall(blob: HubBlob): Promise<boolean> {
    this.#recalled.add(blob.oid);
    try {
      await this.#store.put(recallName(blob), json({ recalled: new Date().toISOString() }));
    } catch {
      return false;
    }
    this.#recalled.delete(blob.oid);
    return true;
  }

  /** Like `recall`, but only in this process: bytes were sent that will never be verified. */
  doubt(blob: HubBlob): void {
    this.#doubted.add(blob.oid);
  }

  async deleteSegment(blob: HubBlob, segment: number, sha256: string): Promise<void> {
    await this.#store.delete(segmentName(blob, segment, sha256));
  }

  async deleteSegments(blob: HubBlob): Promise<void> {
    for (const name of await this.#names(blob)) {
      if (parseSegmentName(blob, name) !== undefined) await this.#store.delete(name);
    }
  }

  /** Whether there are segments of another content than the right one: they may have been sent. */
  async #checkStrays(blob: HubBlob, index: BlobIndex, names: readonly string[]): Promise<boolean> {
    const strays = names.filter((name) => {
      const parsed = parseSegmentName(blob, name);
      return parsed !== undefined && index.sha256[parsed.segment] !== parsed.sha256;
    });
    if (strays.length === 0) return false;
    if (await this.recall(blob)) for (const name of strays) await this.#store.delete(name);
    return true;
  }

  async #names(blob: HubBlob): Promise<string[]> {
    return (await this.#store.list(folderName(blob))).map(({ name }) => name);
  }
}

function json(value: object): Bytes {
  return new TextEncoder().encode(JSON.stringify(value));
}
