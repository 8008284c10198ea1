/** Where the files of a model come from. */

export interface WeightSource {
  /** Bytes of a file, or null when it is not there. */
  size(file: string): Promise<number | null>;
  /** The content of a file, or null when it is not there. Nothing about it is verified yet. */
  open(file: string): Promise<ReadableStream<Uint8Array> | null>;
}

/** What is used of an R2 bucket. */
export interface Bucket {
  head(key: string): Promise<{ size: number } | null>;
  get(key: string): Promise<{ body: ReadableStream<Uint8Array> } | null>;
}

/** The files of `model` in an R2 bucket, under keys `<model>/<file>`. */
export function r2Source(bucket: Bucket, model: string): WeightSource {
  const key = (file: string) => `${model}/${file}`;
  return {
    size: async (file) => (await bucket.head(key(file)))?.size ?? null,
    open: async (file) => (await bucket.get(key(file)))?.body ?? null,
  };
}
