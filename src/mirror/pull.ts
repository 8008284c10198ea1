/** Fetches one file into the store, segment by segment, for all who want it. */
import { createHash, type Hash } from 'node:crypto';
import { StoreFailed, WeightsDamaged } from '../weights/errors.ts';
import { type ResumingOptions, resuming } from '../weights/resuming.ts';
import type { Bytes, StoredObject, WritableStore } from '../weights/store.ts';
import { blocks } from '../weights/write.ts';
import { type BlobIndex, type HubBlob, indexName, segmentCount, segmentName, segmentSize } from './segments.ts';
import type { Semaphore } from './semaphore.ts';

/** The file at its origin, from `offset` on. Null when it is not there. */
export type OpenOrigin = (offset: number) => Promise<StoredObject | null>;

interface PullOptions extends Pick<ResumingOptions, 'stallMs' | 'retryDelayMs'> {
  store: WritableStore;
  segmentBytes: number;
  /** For each segment one turn: no pull waits for another one to end. */
  turns: Semaphore;
}

/**
 * A pull that runs from its making on. Segments that an earlier one left in the store are not fetched again; they are read, since the hash is that
 * of the whole. When the hash is wrong all segments are deleted, since nobody can tell which one is to blame.
 */
export class Pull {
  /** Rejects with what went wrong. */
  readonly done: Promise<void>;
  readonly #blob: HubBlob;
  readonly #origin: OpenOrigin;
  readonly #options: PullOptions;
  readonly #readable: PromiseWithResolvers<void>[];

  constructor(blob: HubBlob, origin: OpenOrigin, options: PullOptions) {
    this.#blob = blob;
    this.#origin = origin;
    this.#options = options;
    this.#readable = Array.from({ length: segmentCount(blob, options.segmentBytes) }, () => Promise.withResolvers());
    for (const { promise } of this.#readable) promise.catch(() => {});
    this.done = this.#run().catch((error: unknown) => {
      for (const { reject } of this.#readable) reject(error);
      throw error;
    });
    // Whoever reads hears of it.
    this.done.catch(() => {});
  }

  /** Resolves when the segment can be read in the store. The last one cannot before the whole has been found right. */
  readable(segment: number): Promise<void> {
    return this.#readable[segment]!.promise;
  }

  async #run(): Promise<void> {
    const blob = this.#blob;
    const { store, segmentBytes, turns, ...resumingOptions } = this.#options;
    const count = this.#readable.length;
    const last = count - 1;
    const present = await this.#present();
    for (const segment of present) if (segment < last) this.#readable[segment]!.resolve();
    const hash = hashOf(blob);
    const sha256: string[] = [];
    let source: AsyncGenerator<Bytes, undefined> | undefined;
    try {
      for (let segment = 0; segment < count; segment++) {
        await turns.run(async () => {
          const kept = present.has(segment) ? await this.#kept(segment) : undefined;
          if (kept !== undefined) {
            await source?.return(undefined);
            source = undefined;
          }
          source ??= kept === undefined ? this.#from(segment, resumingOptions) : undefined;
          const bytes = kept ?? (await source!.next()).value;
          if (bytes === undefined) throw new StoreFailed(blob.oid, 'ended before its size', { status: 409 });
          hash.update(bytes);
          sha256.push(createHash('sha256').update(bytes).digest('hex'));
          if (segment === last) await this.#verify(hash);
          if (kept === undefined) await store.put(segmentName(blob, segment), bytes);
          this.#readable[segment]!.resolve();
        });
      }
      if (count === 0) await this.#verify(hash);
    } finally {
      await source?.return(undefined);
    }
    const index: BlobIndex = { size: blob.size, segmentBytes, sha256 };
    await store.put(indexName(blob), new TextEncoder().encode(JSON.stringify(index)));
  }

  /** Segments that are in the store already, with the right size. */
  async #present(): Promise<Set<number>> {
    const { store, segmentBytes } = this.#options;
    const listed = await store.list(`hf/blobs/${this.#blob.oid}/`);
    const sizes = new Map(listed.map(({ name, size }) => [name, size]));
    const segments = this.#readable.keys();
    return new Set(
      segments.filter((segment) => {
        const size = sizes.get(segmentName(this.#blob, segment));
        return size === segmentSize(this.#blob, segment, segmentBytes);
      }),
    );
  }

  async #kept(segment: number): Promise<Bytes | undefined> {
    const object = await this.#options.store.get(segmentName(this.#blob, segment));
    if (object === null) return undefined;
    const bytes = new Uint8Array(await new Response(object.stream).arrayBuffer());
    return bytes.byteLength === segmentSize(this.#blob, segment, this.#options.segmentBytes) ? bytes : undefined;
  }

  #from(segment: number, options: ResumingOptions): AsyncGenerator<Bytes, undefined> {
    const { segmentBytes } = this.#options;
    const { oid, size } = this.#blob;
    const get = (range?: { offset: number }) => this.#origin(range?.offset ?? 0);
    // The hash says whether the content is the same; the storage behind a hub has ETags of its own.
    const chunks = resuming(get, oid, { size, etag: '' }, { ...options, offset: segment * segmentBytes });
    return blocks(chunks, segmentBytes);
  }

  async #verify(hash: Hash): Promise<void> {
    const actual = hash.digest('hex');
    const { oid } = this.#blob;
    if (actual === oid) return;
    const { store } = this.#options;
    for (const segment of this.#readable.keys()) await store.delete(segmentName(this.#blob, segment));
    throw new WeightsDamaged(oid, `hash ${oid}`, actual);
  }
}

function hashOf({ oid, size }: HubBlob): Hash {
  const isLfs = oid.length === 64;
  return isLfs ? createHash('sha256') : createHash('sha1').update(`blob ${size}\0`);
}
