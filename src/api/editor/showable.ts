/**
 * From what the model says to what an editor can show at the cursor. Pure: text and cursor in, text out.
 *
 * The rules are those that editors and their users expect of a completion, whatever the model: one line where text follows
 * the cursor, no further than the scope, nothing that stands there already, nothing blank, no runaway repetition.
 */
import { type Cursor, firstLine, isBlank, isSingleLine } from './lines.ts';
import { withoutOverlap } from './overlap.ts';
import { repeatsLineAbove, withoutRunaway } from './repetition.ts';
import { withinScope } from './scope.ts';

/** What an editor can show of a completion; empty when that is nothing. */
export function showable(text: string, cursor: Cursor): string {
  const singleLine = isSingleLine(cursor);
  const sane = withoutRunaway(singleLine ? firstLine(text) : text);
  const fresh = withoutOverlap(singleLine ? sane : withinScope(sane, cursor), cursor);
  const shown = singleLine ? fresh : fresh.trimEnd();
  // As it was written, too: what is cut from a repeated line may hide that it is one.
  const repeats = repeatsLineAbove(shown, cursor) || repeatsLineAbove(text, cursor);
  return isBlank(shown) || repeats ? '' : shown;
}
