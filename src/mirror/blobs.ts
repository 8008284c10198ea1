/**
 * Files by their hash, in segments. A missing file is downloaded from its origin once; readers follow the download
 * segment by segment, at their own pace and from any offset. A download that breaks continues where it was, also in
 * another process, because stored segments are kept. Only after the whole file has the right hash is the last segment
 * sent.
 */
import { StoreFailed, WeightsDamaged, WeightsMissing } from '../weights/errors.ts';
import { type ResumingOptions, STALL_MS } from '../weights/resuming.ts';
import type { ByteRange, Bytes, WritableStore } from '../weights/store.ts';
import { openVerified } from '../weights/verify.ts';
import { BlobFolder } from './blob-folder.ts';
import { MirrorError, StoreUnwritable } from './errors.ts';
import { handThrough } from './hand-through.ts';
import { Leases } from './lease.ts';
import { fetchSegment, hashOf, type OpenOrigin, Pull } from './pull.ts';
import { type BlobIndex, type HubBlob, SEGMENT_BYTES, segmentCount, segmentName, segmentSize } from './segments.ts';
import { Semaphore } from './semaphore.ts';

/** Segments that are in memory at a time: with their copies on the way to the store, well under half of an isolate. */
const WRITES_AT_ONCE = 4;

/** After a failed write, nothing is written to the store for this time. */
const UNWRITABLE_MS = 30_000;

interface BlobsOptions extends Pick<ResumingOptions, 'stallMs' | 'retryDelayMs'> {
  store: WritableStore;
  /** Called with actions of the mirror that no request asked for. */
  log?: (message: string) => void;
  segmentBytes?: number;
  /** Milliseconds after which the pull of a process that does not renew it is taken over. */
  leaseMs?: number;
}

export interface OpenBlob {
  /** Breaks off before the end if the file is damaged or not available. */
  stream: ReadableStream<Uint8Array>;
  /** False when all of the file is sent, because a part of it could be appended to wrong bytes. */
  isPart: boolean;
}

interface Reading {
  blob: HubBlob;
  origin: OpenOrigin;
  range: Required<ByteRange>;
  index: BlobIndex | undefined;
  pull: Pull | undefined;
}

export class Blobs {
  readonly #options: Required<Pick<BlobsOptions, 'store' | 'segmentBytes' | 'stallMs' | 'log'>> & BlobsOptions;
  readonly #folder: BlobFolder;
  readonly #leases: Leases;
  #permits = new Semaphore(WRITES_AT_ONCE);
  readonly #pulls = new Map<string, Pull>();
  #unwritableUntilMs = 0;

  constructor(options: BlobsOptions) {
    this.#options = { segmentBytes: SEGMENT_BYTES, stallMs: STALL_MS, log: () => {}, ...options };
    this.#folder = new BlobFolder(options.store);
    this.#leases = new Leases({
      store: options.store,
      ...(options.leaseMs !== undefined && { leaseMs: options.leaseMs }),
    });
  }

  /**
   * Opens a range of a file, or all of it, and downloads it from `origin` if necessary. Resolves when the first bytes
   * are available.
   * @param keepAlive gets the download that this begins or joins: it continues when the reader leaves.
   * @throws what the origin throws; StoreFailed when the store cannot be read.
   */
  async open(
    blob: HubBlob,
    range: Required<ByteRange> | undefined,
    origin: OpenOrigin,
    keepAlive: (pull: Promise<unknown>) => void = () => {},
  ): Promise<OpenBlob> {
    const whole = { offset: 0, length: blob.size };
    if (blob.size === 0) return { stream: emptyStream(blob), isPart: false };
    const index = await this.#folder.index(blob);
    const isPart = range !== undefined && !(isEnd(blob, range) && !(await this.#folder.mayBeResumed(blob, index)));
    if (index === undefined && Date.now() < this.#unwritableUntilMs) return this.#handedThrough(blob, origin);
    const pull = index === undefined ? this.#pull(blob, origin) : undefined;
    if (pull !== undefined) keepAlive(pull.done);
    try {
      return { stream: await begun(this.#read({ blob, origin, range: isPart ? range : whole, index, pull })), isPart };
    } catch (error) {
      if (!(error instanceof StoreUnwritable)) throw error;
      this.#unwritableUntilMs = Date.now() + UNWRITABLE_MS;
      this.#options.log(`${error.message}: files are handed through without being kept`);
      return this.#handedThrough(blob, origin);
    }
  }

  async #handedThrough(blob: HubBlob, origin: OpenOrigin): Promise<OpenBlob> {
    const onGiven = async (verdict: 'wrong' | 'unknown') => {
      this.#folder.doubt(blob);
      if (verdict === 'wrong') await this.#folder.recall(blob);
    };
    return { stream: await begun(handThrough(blob, origin, { ...this.#options, onGiven })), isPart: false };
  }

  #pull(blob: HubBlob, origin: OpenOrigin): Pull {
    let pull = this.#pulls.get(blob.oid);
    if (pull === undefined) {
      const shared = { folder: this.#folder, leases: this.#leases, permits: this.#permits };
      pull = new Pull(blob, origin, { ...this.#options, ...shared });
      this.#pulls.set(blob.oid, pull);
      const forget = () => this.#forget(blob, pull!);
      pull.done.then(forget, forget);
    }
    return pull;
  }

  #forget(blob: HubBlob, pull: Pull): void {
    if (this.#pulls.get(blob.oid) === pull) this.#pulls.delete(blob.oid);
  }

  async *#read({ blob, origin, range, pull, ...reading }: Reading): AsyncGenerator<Uint8Array> {
    let { index } = reading;
    const segmentBytes = index?.segmentBytes ?? this.#options.segmentBytes;
    const last = segmentCount(blob, segmentBytes) - 1;
    const given = new Map<number, string>();
    const end = range.offset + range.length;
    for (let position = range.offset; position < end; ) {
      const segment = Math.floor(position / segmentBytes);
      const start = segment * segmentBytes;
      if (index === undefined && segment === last) {
        index = await this.#following(blob, pull!, pull!.done);
        await this.#checkGiven(blob, index, given, range);
      }
      const sha256 = index?.sha256[segment] ?? (await this.#following(blob, pull!, pull!.readable(segment)));
      const stream = await this.#segment(blob, origin, {
        segment,
        sha256,
        segmentBytes,
        isVerified: index !== undefined,
      });
      given.set(segment, sha256);
      const length = Math.min(end, start + segmentSize(blob, segment, segmentBytes)) - position;
      let isGiven = false;
      try {
        for await (const chunk of partOf(stream, { offset: position - start, length })) {
          isGiven = true;
          yield chunk;
        }
      } catch (error) {
        if (error instanceof WeightsDamaged) await this.#damaged(blob, { segment, sha256, isGiven });
        throw error;
      }
      position += length;
    }
  }

  /**
   * The end of a file is sent only to clients whose beginning is right: what this answer has sent, and what earlier
   * ones have.
   */
  async #checkGiven(
    blob: HubBlob,
    index: BlobIndex,
    given: ReadonlyMap<number, string>,
    range: Required<ByteRange>,
  ): Promise<void> {
    for (const [segment, sha256] of given) {
      if (index.sha256[segment] === sha256) continue;
      await this.#folder.recall(blob);
      throw new WeightsDamaged(segmentName(blob, segment, sha256), `SHA-256 ${index.sha256[segment]}`, sha256);
    }
    if (isEnd(blob, range) && !(await this.#folder.mayBeResumed(blob, index))) {
      throw new WeightsDamaged(blob.oid, 'a beginning that was right', 'one that was recalled');
    }
  }

  /** Waits for progress of a download, until a timeout: the request that runs the download may have ended. */
  async #following<Result>(blob: HubBlob, pull: Pull, awaited: Promise<Result>): Promise<Result> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const stalled = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        this.#forget(blob, pull);
        // It may never release its permit.
        this.#permits = new Semaphore(WRITES_AT_ONCE);
        reject(new StoreFailed(blob.oid, 'is downloaded no further'));
      }, 2 * this.#options.stallMs);
    });
    return await Promise.race([awaited, stalled]).finally(() => clearTimeout(timer));
  }

  /** Errors with WeightsDamaged before its end if its content does not have the hash of its name. */
  async #segment(
    blob: HubBlob,
    origin: OpenOrigin,
    {
      isVerified,
      segmentBytes,
      ...wanted
    }: { segment: number; sha256: string; segmentBytes: number; isVerified: boolean },
  ): Promise<ReadableStream<Uint8Array>> {
    const name = segmentName(blob, wanted.segment, wanted.sha256);
    const size = segmentSize(blob, wanted.segment, segmentBytes);
    const object = await this.#options.store.get(name);
    if (object !== null && (object.size === undefined || object.size === size)) {
      const source = { size: async () => size, open: async () => object.stream };
      return (await openVerified(source, { path: name, size, sha256: wanted.sha256 })).stream;
    }
    await object?.stream.cancel();
    if (!isVerified) throw new WeightsMissing([name]);
    const bytes = await this.#permits.run(async () => {
      const fetched = await fetchSegment(blob, origin, wanted, { ...this.#options, segmentBytes });
      await this.#options.store.put(name, fetched).catch((error: unknown) => this.#options.log(String(error)));
      return fetched;
    });
    this.#options.log(`${name} was missing in the store and was fetched again`);
    return streamOf(bytes);
  }

  /** What is damaged in the store is removed, so that the next reader has it fetched again. */
  async #damaged(
    blob: HubBlob,
    { segment, sha256, isGiven }: { segment: number; sha256: string; isGiven: boolean },
  ): Promise<void> {
    if (isGiven) await this.#folder.recall(blob);
    await this.#folder.deleteSegment(blob, segment, sha256);
  }
}

/** Whether a range ends a file whose beginning a client may have from elsewhere. */
function isEnd({ size }: HubBlob, { offset, length }: Required<ByteRange>): boolean {
  return offset > 0 && offset + length === size;
}

/** A stream of the chunks, the first of which has been read. */
async function begun(chunks: AsyncGenerator<Uint8Array>): Promise<ReadableStream<Uint8Array>> {
  let first: IteratorResult<Uint8Array> | undefined = await chunks.next();
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { done, value } = first ?? (await chunks.next());
        first = undefined;
        if (done) controller.close();
        else controller.enqueue(value);
      },
      async cancel() {
        await chunks.return(undefined);
      },
    },
    { highWaterMark: 0 },
  );
}

/**
 * A part of a stream that is nevertheless read to its end: the last chunk is held back until the end of the stream
 * shows whether all of it is right.
 */
async function* partOf(
  stream: ReadableStream<Uint8Array>,
  { offset, length }: Required<ByteRange>,
): AsyncGenerator<Uint8Array> {
  let position = 0;
  let held: Uint8Array | undefined;
  for await (const chunk of stream) {
    const part = chunk.subarray(Math.max(0, offset - position), Math.max(0, offset + length - position));
    position += chunk.byteLength;
    if (part.byteLength === 0) continue;
    if (held !== undefined) yield held;
    held = part;
  }
  if (held !== undefined) yield held;
}

function streamOf(bytes: Bytes): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>({
    start(controller) {
      controller.enqueue(bytes);
      controller.close();
    },
  });
}

/** @throws MirrorError 502 unless the hub lists the file as empty. */
function emptyStream(blob: HubBlob): ReadableStream<Uint8Array> {
  if (hashOf(blob).digest('hex') !== blob.oid)
    throw new MirrorError(502, 'What the hub lists of the file cannot be true.');
  return new ReadableStream({ start: (controller) => controller.close() });
}
