/**
 * What answers with files have in common: conditions on their version, and a length that is said before they are sent.
 */

/**
 * Whether a client that sent this `If-None-Match` has the version already. Compared weakly:
 * https://www.rfc-editor.org/rfc/rfc9110#name-if-none-match
 * @param etag Quoted, as HTTP writes it.
 */
export function isKnown(ifNoneMatch: string | undefined, etag: string): boolean {
  if (ifNoneMatch === undefined) return false;
  if (ifNoneMatch.trim() === '*') return true;
  const listed = ifNoneMatch.match(/(?:W\/)?"[^"]*"/g) ?? [];
  return listed.some((candidate) => candidate.replace(/^W\//, '') === etag);
}

/**
 * In workerd the length of an answer is sent if its stream has a fixed length. Errors if the stream has another length.
 */
export function ofLength(stream: ReadableStream<Uint8Array>, length: number): ReadableStream<Uint8Array> {
  const { FixedLengthStream } = globalThis as {
    FixedLengthStream?: new (length: number) => ReadableWritablePair<Uint8Array, Uint8Array>;
  };
  return FixedLengthStream ? stream.pipeThrough(new FixedLengthStream(length)) : stream;
}
