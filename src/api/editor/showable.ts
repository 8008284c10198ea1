/**
 * From the text of the model to the text that an editor can show at the cursor. Pure: text and cursor in, text out.
 *
 * Editors and their users expect these rules of a completion from any model: one line if text follows the cursor,
 * nothing after the end of the scope, nothing that already follows the cursor, no white space that already precedes it,
 * nothing blank, no endless repetition, no prompt markers.
 */
import { joinOf } from '../../engine/word-join.ts';
import { foreignStart } from './foreign.ts';
import { type Cursor, firstLine, isBlank, isSingleLine, type Written } from './lines.ts';
import { withoutOverlap } from './overlap.ts';
import { repeatsLineAbove, runawayStart } from './repetition.ts';
import { closesNothing, scopeEndOf, withinScope } from './scope.ts';
import { seamLength } from './seam.ts';

/**
 * The part of a completion that an editor can show, from `seamLength` on; may be empty.
 * @param written whether the completion ended by itself, or a limit cut it
 */
export function showable(completion: string, cursor: Cursor, written: Exclude<Written, 'begun'> = 'whole'): string {
  const text = completion.slice(seamLength(completion, cursor));
  const singleLine = isSingleLine(cursor);
  const line = singleLine ? firstLine(text) : text;
  const known = line.slice(0, foreignStart(line, cursor));
  const joined = known.slice(0, joinOf(known, cursor.suffix, true));
  // Where more text followed, the limit was not what ended this part.
  const sane = joined.slice(0, runawayStart(joined, cursor, joined.length === text.length ? written : 'whole'));
  const fresh = withoutOverlap(singleLine ? sane : withinScope(sane, cursor), cursor);
  const shown = singleLine ? fresh : fresh.trimEnd();
  // As it was written, too: what is cut from a repeated line may hide that it is one.
  const repeats = repeatsLineAbove(shown, cursor) || repeatsLineAbove(text, cursor);
  return isBlank(shown) || repeats || closesNothing(shown, cursor) ? '' : shown;
}

/**
 * The length at which a completion ends for an editor, because no continuation could be shown; undefined while one
 * could.
 * @param completion its beginning, as far as it is generated
 */
export function showableEnd(completion: string, cursor: Cursor): number | undefined {
  const seam = seamLength(completion, cursor);
  const text = completion.slice(seam);
  const lines = text.slice(0, Math.max(0, text.lastIndexOf('\n')));
  const isRepeated = text.includes('\n') && repeatsLineAbove(lines, cursor);
  const ends = [
    isRepeated ? 0 : undefined,
    foreignStart(text, cursor, 'begun'),
    runawayStart(text, cursor, 'begun'),
    isSingleLine(cursor) ? undefined : scopeEndOf(text, cursor),
  ].filter((end) => end !== undefined);
  return ends.length > 0 ? seam + Math.min(...ends) : undefined;
}
