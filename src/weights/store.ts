/**
 * Stores of weights. Names are `<model>/<file>` in every store. A writable store never shows part of an object: `put`
 * writes it in one request, and the parts of an `Upload` are not readable until it is completed.
 */
import type { WeightSource } from './source.ts';

/** Bytes from `offset` on, `length` of them or all that are left. */
export interface ByteRange {
  offset: number;
  length?: number;
}

export interface StoredInfo {
  /**
   * Size of the whole object in bytes. Undefined if the store does not report it, which implies nothing about the
   * object.
   */
  size: number | undefined;
  /** Quoted, as in HTTP; it changes with the content. Empty if the store has none. */
  etag: string;
}

export interface StoredObject extends StoredInfo {
  /** The bytes of the range. Nothing about them is verified yet. */
  stream: ReadableStream<Uint8Array>;
}

/** Methods throw `StoreFailed` when the store cannot be asked. */
export interface WeightStore {
  /** Null when there is no such object. */
  head(name: string): Promise<StoredInfo | null>;
  /** Null when there is no such object. The range must begin inside the object. */
  get(name: string, range?: ByteRange): Promise<StoredObject | null>;
}

/** Bytes that a request can send unchanged. */
export type Bytes = Uint8Array<ArrayBuffer>;

/** An object that is written in parts, in order. All but the last part have the same size, of at least 5 MiB. */
export interface Upload {
  part(bytes: Bytes): Promise<void>;
  /** Makes the object visible, whole. */
  complete(): Promise<void>;
  /** Drops the parts. */
  abort(): Promise<void>;
}

export interface WritableStore extends WeightStore {
  put(name: string, bytes: Bytes): Promise<void>;
  /**
   * As `put`, if there is no such object yet; false if there is. A store that knows no conditions writes in any case.
   */
  putNew(name: string, bytes: Bytes): Promise<boolean>;
  upload(name: string): Promise<Upload>;
  /** No error when there is no such object. */
  delete(name: string): Promise<void>;
  /** Every object whose name begins with `prefix`, sorted by name. */
  list(prefix: string): Promise<(StoredInfo & { name: string })[]>;
}

/** Parts of a name may only have characters that paths, URLs and the keys of object stores all keep unchanged. */
const NAME_PART = /^(?!\.{1,2}$)[\w.@=~-]{1,255}$/;

/** Keys of S3 and R2 have at most 1,024 bytes; the rest is for a prefix. */
const MAX_NAME_LENGTH = 900;

/** Whether it can be the name of a stored object: no path out of its folder, and nothing that has to be escaped. */
export function isName(name: string): boolean {
  return name.length <= MAX_NAME_LENGTH && name.split('/').every((part) => NAME_PART.test(part));
}

/** The files of one model in a store. */
export function modelSource(store: WeightStore, model: string): WeightSource {
  const name = (file: string) => `${model}/${file}`;
  return {
    async size(file) {
      const info = await store.head(name(file));
      return info === null ? null : info.size;
    },
    open: async (file) => (await store.get(name(file)))?.stream ?? null,
  };
}
