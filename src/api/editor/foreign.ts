/**
 * Text that comes from a prompt's markers or from broken bytes, and is not source text unless the file already has it.
 */
import type { Cursor, Written } from './lines.ts';

/** Words of the markers that clients and models write, with the brackets and bars of one, whole or in part. */
const MARKER =
  /[<|\uff5c[]*(?:fim[_\u2581](?:prefix|suffix|middle|pad|begin|hole|end)|code_(?:prefix|suffix|middle)|endoftext|file_sep|repo_name|im_start|im_end|eom|eot_id)[|\uff5c>]*/g;
const SHORT_MARKER = /<(?:PRE|SUF|MID|EOT)>|\[(?:PREFIX|SUFFIX|MIDDLE)\]/g;

/** A marker of which the end is missing. */
const BEGUN_MARKER = /<[|\uff5c][\w\u2581]*$|<fim_\w*$/;

/** Replacement characters for invalid bytes, half characters, and controls that editors do not show. */
const BROKEN = /[[\p{Cc}\p{Cs}\u{fffd}]--[\t\n\f]]/gv;

/** Where a text has to end because of the content of its next line, before the line end; undefined if it need not. */
export function foreignStart(text: string, { prefix, suffix }: Cursor, written: Written = 'whole'): number | undefined {
  const found = [BROKEN, MARKER, SHORT_MARKER].flatMap((pattern) =>
    [...text.matchAll(pattern)].map(({ 0: piece, index }) => ({ piece, index })),
  );
  const begun = written === 'begun' ? null : BEGUN_MARKER.exec(text);
  if (begun) found.push({ piece: begun[0], index: begun.index });
  // A word without brackets may be a name: `fim_prefix`. The last word of a text that is being generated may continue.
  const telling = found.filter(
    ({ piece, index }) =>
      /^[^\w\u2581]|[^\w\u2581]$/.test(piece) && (written !== 'begun' || index + piece.length < text.length),
  );
  if (telling.length === 0) return undefined;
  const known = new Set([BROKEN, MARKER, SHORT_MARKER].flatMap((pattern) => (prefix + suffix).match(pattern) ?? []));
  const foreign = telling.filter(({ piece }) => !known.has(piece));
  if (foreign.length === 0) return undefined;
  const first = Math.min(...foreign.map(({ index }) => index));
  return Math.max(0, text.lastIndexOf('\n', first));
}
