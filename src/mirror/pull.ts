/** Downloads one file into the store, segment by segment, for all its readers; or follows the process that does. */
import { createHash, type Hash } from 'node:crypto';
import { StoreFailed, WeightsDamaged } from '../weights/errors.ts';
import { type ResumingOptions, resuming } from '../weights/resuming.ts';
import type { Bytes, StoredObject, WritableStore } from '../weights/store.ts';
import { blocks } from '../weights/write.ts';
import type { BlobFolder } from './blob-folder.ts';
import { MirrorError, writing } from './errors.ts';
import type { Lease, LeaseRecord, Leases } from './lease.ts';
import { type BlobIndex, type HubBlob, leaseName, segmentCount, segmentName, segmentSize } from './segments.ts';
import type { Semaphore } from './semaphore.ts';

/** The file at its origin, from `offset` on. Null when it is not there. */
export type OpenOrigin = (offset: number) => Promise<StoredObject | null>;

/** Interval of the checks for segments of another process. */
const FIRST_LOOK_MS = 100;
const LONGEST_LOOK_MS = 1_000;

export interface PullOptions extends Pick<ResumingOptions, 'stallMs' | 'retryDelayMs'> {
  store: WritableStore;
  folder: BlobFolder;
  leases: Leases;
  segmentBytes: number;
  /** A permit for each segment: no pull waits for another one to end. */
  permits: Semaphore;
}

/**
 * A download that starts when it is created, in one process at a time. Segments that an earlier download left in the
 * store are not fetched again; they are read, because the hash is that of the whole file. If the hash is wrong, that is
 * recorded and all segments are deleted: it is unknown which one is wrong.
 *
 * A segment can be read only if it is stored and there was no index after that. A process that writes an index then
 * looks for segments of other content. So if two processes get different contents, at least one of them learns of it
 * before the end of the file is sent to a client.
 */
export class Pull {
  /** The index of the verified file. Rejects with the error; StoreUnwritable if the store cannot be written to. */
  readonly done: Promise<BlobIndex>;
  readonly #blob: HubBlob;
  readonly #origin: OpenOrigin;
  readonly #options: PullOptions;
  readonly #readable: PromiseWithResolvers<string>[];

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
    // All readers get the error.
    this.done.catch(() => {});
  }

  /**
   * Resolves with its SHA-256 when the segment can be read in the store. Never for the last one: that takes the index.
   */
  readable(segment: number): Promise<string> {
    return this.#readable[segment]!.promise;
  }

  async #run(): Promise<BlobIndex> {
    const { folder, leases } = this.#options;
    let overdue: LeaseRecord | undefined;
    for (;;) {
      const index = await folder.index(this.#blob);
      if (index !== undefined) return this.#adopted(index);
      const lease = await leases.acquire(leaseName(this.#blob), overdue);
      if (lease === undefined) {
        overdue = await this.#follow();
        continue;
      }
      try {
        const fetched = await this.#fetch(lease);
        if (fetched !== undefined) return fetched;
      } finally {
        await lease.release();
      }
    }
  }

  /**
   * Waits while another process downloads, until the file is complete or that process has stopped; in that case returns
   * its lease, if it left one.
   */
  async #follow(): Promise<LeaseRecord | undefined> {
    const { folder, leases } = this.#options;
    const over = leases.watch(leaseName(this.#blob));
    for (let waitMs = FIRST_LOOK_MS; ; waitMs = Math.min(2 * waitMs, LONGEST_LOOK_MS)) {
      const isWhole = await this.#show();
      if (isWhole) return undefined;
      const lease = await over();
      if (lease !== undefined) return lease === 'free' ? undefined : lease;
      await new Promise((resolve) => setTimeout(resolve, waitMs));
      if ((await folder.index(this.#blob)) !== undefined) return undefined;
    }
  }

  /** Makes stored segments readable. True if all of the file is stored. */
  async #show(): Promise<boolean> {
    const { folder, segmentBytes } = this.#options;
    const present = await folder.segments(this.#blob, segmentBytes);
    if ((await folder.index(this.#blob)) !== undefined) return true;
    for (const [segment, sha256] of present) this.#allow(segment, sha256);
    return false;
  }

  #allow(segment: number, sha256: string): void {
    if (segment < this.#readable.length - 1) this.#readable[segment]!.resolve(sha256);
  }

  #adopted(index: BlobIndex): BlobIndex {
    if (index.segmentBytes !== this.#options.segmentBytes) {
      throw new StoreFailed(this.#blob.oid, 'was stored in segments of another size meanwhile', { status: 409 });
    }
    for (const [segment, sha256] of index.sha256.entries()) this.#allow(segment, sha256);
    return index;
  }

  /** Undefined when another process took over. */
  async #fetch(lease: Lease): Promise<BlobIndex | undefined> {
    const { folder, segmentBytes } = this.#options;
    if (await this.#show()) return undefined;
    const hasSeveral = this.#readable.length > 1;
    let sha256 = await this.#fetchSegments(lease);
    // Nothing of it has been sent yet, so it is read again: a connection that damaged one answer seldom damages the
    // next.
    if (sha256 === 'damaged' && !hasSeveral) sha256 = await this.#fetchSegments(lease);
    if (sha256 === 'damaged') {
      const isKnown = !hasSeveral || (await folder.recall(this.#blob));
      if (isKnown) await folder.deleteSegments(this.#blob);
      throw new WeightsDamaged(this.#blob.oid, `hash ${this.#blob.oid}`, 'another one');
    }
    if (sha256 === undefined) return undefined;
    const index: BlobIndex = { size: this.#blob.size, segmentBytes, sha256 };
    await folder.complete(this.#blob, index);
    return index;
  }

  /** The hashes of all segments, which are stored and verified together. */
  async #fetchSegments(lease: Lease): Promise<string[] | 'damaged' | undefined> {
    const blob = this.#blob;
    const { store, folder, segmentBytes, permits } = this.#options;
    const last = this.#readable.length - 1;
    const present = await folder.segments(blob, segmentBytes);
    const hash = hashOf(blob);
    const hashes: string[] = [];
    let source: AsyncGenerator<Bytes, undefined> | undefined;
    let isOvertaken = false;
    let isDamaged = false;

    const one = async (segment: number): Promise<void> => {
      const known = present.get(segment);
      const kept = known === undefined ? undefined : await this.#kept(segment, known);
      if (kept !== undefined) {
        await source?.return(undefined);
        source = undefined;
      }
      source ??= kept === undefined ? this.#from(segment) : undefined;
      const bytes = kept ?? (await source!.next()).value;
      if (bytes === undefined) throw new StoreFailed(blob.oid, 'ended before its size', { status: 409 });
      hash.update(bytes);
      const sha256 = sha256Of(bytes);
      hashes.push(sha256);
      isDamaged = segment === last && hash.digest('hex') !== blob.oid;
      if (isDamaged) return;
      if (kept === undefined) await writing(store.put(segmentName(blob, segment, sha256), bytes));
      isOvertaken = lease.isLost || (segment < last && (await folder.index(blob)) !== undefined);
      if (!isOvertaken) this.#allow(segment, sha256);
    };

    try {
      for (let segment = 0; segment <= last && !isOvertaken && !isDamaged; segment++) {
        await permits.run(() => one(segment));
      }
    } finally {
      await source?.return(undefined);
    }
    if (isDamaged || (last < 0 && hash.digest('hex') !== blob.oid)) return 'damaged';
    return isOvertaken ? undefined : hashes;
  }

  /** A segment of an earlier pull, unless it is damaged: then it is removed. */
  async #kept(segment: number, sha256: string): Promise<Bytes | undefined> {
    const { store, folder } = this.#options;
    const object = await store.get(segmentName(this.#blob, segment, sha256));
    if (object === null) return undefined;
    const bytes = new Uint8Array(await new Response(object.stream).arrayBuffer());
    if (sha256Of(bytes) === sha256) return bytes;
    await folder.deleteSegment(this.#blob, segment, sha256);
    return undefined;
  }

  #from(segment: number): AsyncGenerator<Bytes, undefined> {
    return blocks(fromOrigin(this.#blob, this.#origin, segment, this.#options), this.#options.segmentBytes);
  }
}

/**
 * The bytes of a file at its origin, from a segment on.
 * @throws MirrorError also for what it sends with another size, or never to its end: that is no failure of the store.
 */
export async function* fromOrigin(
  { oid, size }: HubBlob,
  origin: OpenOrigin,
  segment: number,
  { segmentBytes, stallMs, retryDelayMs }: Pick<PullOptions, 'segmentBytes' | 'stallMs' | 'retryDelayMs'>,
): AsyncGenerator<Uint8Array, void> {
  const get = (range?: { offset: number }) => origin(range?.offset ?? 0);
  const options = { stallMs, retryDelayMs, offset: segment * segmentBytes };
  // The hash shows whether the content is the same; the storage that a hub redirects to has its own ETags.
  try {
    yield* resuming(get, oid, { size, etag: '' }, options as ResumingOptions);
  } catch (cause) {
    if (!(cause instanceof StoreFailed)) throw cause;
    throw new MirrorError(502, 'The hub does not send this file as it lists it.', { cause });
  }
}

/** The bytes of one segment, if they are the right ones. @throws WeightsDamaged */
export async function fetchSegment(
  blob: HubBlob,
  origin: OpenOrigin,
  { segment, sha256 }: { segment: number; sha256: string },
  options: Pick<PullOptions, 'segmentBytes' | 'stallMs' | 'retryDelayMs'>,
): Promise<Bytes> {
  const name = segmentName(blob, segment, sha256);
  const chunks = blocks(fromOrigin(blob, origin, segment, options), segmentSize(blob, segment, options.segmentBytes));
  const { value: bytes } = await chunks.next();
  await chunks.return(undefined);
  if (bytes === undefined) throw new StoreFailed(name, 'ended before its size', { status: 409 });
  if (sha256Of(bytes) !== sha256) throw new WeightsDamaged(name, `SHA-256 ${sha256}`, sha256Of(bytes));
  return bytes;
}

export function hashOf({ oid, size }: HubBlob): Hash {
  const isLfs = oid.length === 64;
  return isLfs ? createHash('sha256') : createHash('sha1').update(`blob ${size}\0`);
}

function sha256Of(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
