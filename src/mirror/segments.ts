/** How a file lies in the store: `hf/blobs/<hash>/00000`, `00001`, … and an index that says that all of it is there and right. */
import * as z from 'zod';

/** A file by the hash that the hub lists: SHA-256 for what is in LFS, else git's SHA-1 of `blob <size>\0` and the content. */
export interface HubBlob {
  oid: string;
  size: number;
}

/**
 * A segment is held in memory while it is written, by as many pulls as may write at a time, in an isolate of 128 MiB. A slow line fills it well
 * before clients, which wait 10 s for the next byte, give up.
 */
export const SEGMENT_BYTES = 4 * 2 ** 20;

export const indexSchema = z.object({
  size: z.int().min(0),
  segmentBytes: z.int().min(1),
  /** Of each segment, so that damage in the store is found by whoever reads it. */
  sha256: z.array(z.string().regex(/^[0-9a-f]{64}$/)),
});

export type BlobIndex = z.output<typeof indexSchema>;

export function indexName({ oid }: HubBlob): string {
  return `hf/blobs/${oid}/index.json`;
}

export function segmentName({ oid }: HubBlob, segment: number): string {
  return `hf/blobs/${oid}/${String(segment).padStart(5, '0')}`;
}

export function segmentCount({ size }: HubBlob, segmentBytes: number): number {
  return Math.ceil(size / segmentBytes);
}

/** Bytes of one segment; the last one is shorter. */
export function segmentSize({ size }: HubBlob, segment: number, segmentBytes: number): number {
  return Math.min(segmentBytes, size - segment * segmentBytes);
}
