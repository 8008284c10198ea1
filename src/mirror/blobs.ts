/**
 * Files by their hash, in segments. A file that is not there is pulled from its origin once; whoever reads it meanwhile follows the pull from
 * segment to segment, at a pace of his own and from any offset. A pull that is cut goes on where it was, also in another process, since what is
 * stored stays. The last segment and the index are written when the whole has the right hash: without them a file is not there.
 */
import { StoreFailed, WeightsDamaged, WeightsMissing } from '../weights/errors.ts';
import { sliced } from '../weights/range.ts';
import { type ResumingOptions, STALL_MS } from '../weights/resuming.ts';
import type { ByteRange, WritableStore } from '../weights/store.ts';
import { openVerified } from '../weights/verify.ts';
import { type OpenOrigin, Pull } from './pull.ts';
import {
  type BlobIndex,
  type HubBlob,
  indexName,
  indexSchema,
  SEGMENT_BYTES,
  segmentName,
  segmentSize,
} from './segments.ts';
import { Semaphore } from './semaphore.ts';

/** Segments that are in memory at a time: with their copies on the way to the store, well under half of an isolate. */
const WRITES_AT_ONCE = 4;

interface BlobsOptions extends Pick<ResumingOptions, 'stallMs' | 'retryDelayMs'> {
  store: WritableStore;
  segmentBytes?: number;
}

export interface OpenBlob {
  /** The bytes of the range. Breaks off before the end when the file turns out to be damaged or cannot be had. */
  stream: ReadableStream<Uint8Array>;
  /** The pull under way, to be kept alive when the reader leaves. */
  pull: Promise<void> | undefined;
}

export class Blobs {
  readonly #options: Required<Pick<BlobsOptions, 'store' | 'segmentBytes' | 'stallMs'>> & BlobsOptions;
  #turns = new Semaphore(WRITES_AT_ONCE);
  readonly #pulls = new Map<string, Pull>();

  constructor(options: BlobsOptions) {
    this.#options = { segmentBytes: SEGMENT_BYTES, stallMs: STALL_MS, ...options };
  }

  /** Opens a range of a file, pulling it from `origin` if need be. */
  async open(blob: HubBlob, range: Required<ByteRange>, origin: OpenOrigin): Promise<OpenBlob> {
    const index = await this.#index(blob);
    const pull = index === undefined ? this.#pull(blob, origin) : undefined;
    return { stream: streamOf(this.#read(blob, range, index, pull)), pull: pull?.done };
  }

  #pull(blob: HubBlob, origin: OpenOrigin): Pull {
    let pull = this.#pulls.get(blob.oid);
    if (pull === undefined) {
      pull = new Pull(blob, origin, { ...this.#options, turns: this.#turns });
      this.#pulls.set(blob.oid, pull);
      const forget = () => this.#forget(blob, pull!);
      pull.done.then(forget, forget);
    }
    return pull;
  }

  #forget(blob: HubBlob, pull: Pull): void {
    if (this.#pulls.get(blob.oid) === pull) this.#pulls.delete(blob.oid);
  }

  /** Undefined when the file is not there, or not whole. */
  async #index(blob: HubBlob): Promise<BlobIndex | undefined> {
    const object = await this.#options.store.get(indexName(blob));
    if (object === null) return undefined;
    const text = await new Response(object.stream).text();
    try {
      const index = indexSchema.parse(JSON.parse(text));
      return index.size === blob.size ? index : undefined;
    } catch {
      return undefined;
    }
  }

  async *#read(
    blob: HubBlob,
    { offset, length }: Required<ByteRange>,
    index: BlobIndex | undefined,
    pull: Pull | undefined,
  ): AsyncGenerator<Uint8Array> {
    const segmentBytes = index?.segmentBytes ?? this.#options.segmentBytes;
    const end = offset + length;
    for (let position = offset; position < end; ) {
      const segment = Math.floor(position / segmentBytes);
      const start = segment * segmentBytes;
      const size = segmentSize(blob, segment, segmentBytes);
      if (pull !== undefined) await this.#following(blob, pull, segment);
      const stream = await this.#segment(blob, segment, size, index?.sha256[segment]);
      const part = { offset: position - start, length: Math.min(end, start + size) - position };
      try {
        yield* part.length === size ? stream : sliced(stream, part);
      } catch (error) {
        if (error instanceof WeightsDamaged) await this.#drop(blob, segment);
        throw error;
      }
      position += part.length;
    }
  }

  /** Waits for a segment of a pull, unless nothing comes any more: the request that the pull belongs to may be gone. */
  async #following(blob: HubBlob, pull: Pull, segment: number): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const stalled = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        this.#forget(blob, pull);
        // It may never give back its turn.
        this.#turns = new Semaphore(WRITES_AT_ONCE);
        reject(new StoreFailed(blob.oid, 'is pulled no further'));
      }, 2 * this.#options.stallMs);
    });
    await Promise.race([pull.readable(segment), stalled]).finally(() => clearTimeout(timer));
  }

  async #segment(blob: HubBlob, segment: number, size: number, sha256?: string): Promise<ReadableStream<Uint8Array>> {
    const { store } = this.#options;
    const name = segmentName(blob, segment);
    if (sha256 === undefined) {
      const object = await store.get(name);
      if (object?.size === size) return object.stream;
      throw new WeightsMissing([name]);
    }
    const source = { size: async () => size, open: async (file: string) => (await store.get(file))?.stream ?? null };
    try {
      return (await openVerified(source, { path: name, size, sha256 })).stream;
    } catch (error) {
      if (error instanceof WeightsMissing) await this.#drop(blob, segment);
      throw error;
    }
  }

  /** Forgets a segment, so that the next reader has it fetched again. */
  async #drop(blob: HubBlob, segment: number): Promise<void> {
    await this.#options.store.delete(indexName(blob));
    await this.#options.store.delete(segmentName(blob, segment));
  }
}

function streamOf(chunks: AsyncGenerator<Uint8Array>): ReadableStream<Uint8Array> {
  return new ReadableStream({
    async pull(controller) {
      const { done, value } = await chunks.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    async cancel() {
      await chunks.return(undefined);
    },
  });
}
