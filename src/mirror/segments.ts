/**
 * The layout of a file in the store: `hf/blobs/<hash>/00000-<sha256>`, `00001-<sha256>`, … and an index that says that
 * all of it is stored and verified. A segment is named by its content, so that a segment that clients have received is
 * never replaced by other content of the same name.
 */
import * as z from 'zod';

/**
 * A file by the hash that the hub lists: SHA-256 for what is in LFS, else git's SHA-1 of `blob <size>\0` and the
 * content.
 */
export interface HubBlob {
  oid: string;
  size: number;
}

/**
 * A segment is in memory while it is written, for as many downloads as may write at a time, in an isolate of 128 MiB. A
 * slow connection fills it well before clients, which wait 10 s for the next byte, give up.
 */
export const SEGMENT_BYTES = 4 * 2 ** 20;

export const indexSchema = z.object({
  size: z.int().min(0),
  segmentBytes: z.int().min(1),
  /** Of each segment: its name, and how damage in the store is found when it is read. */
  sha256: z.array(z.string().regex(/^[0-9a-f]{64}$/)),
});

export type BlobIndex = z.output<typeof indexSchema>;

export function folderName({ oid }: HubBlob): string {
  return `hf/blobs/${oid}/`;
}

export function indexName(blob: HubBlob): string {
  return `${folderName(blob)}index.json`;
}

/** The owner of the download. */
export function leaseName(blob: HubBlob): string {
  return `${folderName(blob)}pull.json`;
}

/** Records that wrong bytes of the file were sent: a client may have a damaged beginning. */
export function recallName(blob: HubBlob): string {
  return `${folderName(blob)}recalled.json`;
}

export function segmentName(blob: HubBlob, segment: number, sha256: string): string {
  return `${folderName(blob)}${String(segment).padStart(5, '0')}-${sha256}`;
}

/** Undefined for what is not the name of a segment of the file. */
export function parseSegmentName(blob: HubBlob, name: string): { segment: number; sha256: string } | undefined {
  const [, segment, sha256] = /^(\d{5,})-([0-9a-f]{64})$/.exec(name.slice(folderName(blob).length)) ?? [];
  return segment !== undefined && sha256 !== undefined ? { segment: Number(segment), sha256 } : undefined;
}

export function segmentCount({ size }: HubBlob, segmentBytes: number): number {
  return Math.ceil(size / segmentBytes);
}

/** Bytes of one segment; the last one is shorter. */
export function segmentSize({ size }: HubBlob, segment: number, segmentBytes: number): number {
  return Math.min(segmentBytes, size - segment * segmentBytes);
}
