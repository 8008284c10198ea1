/**
 * Whether an editor has typed on since it sent a request: its completion will not be shown, because the cursor is not
 * there any more. Texts are compared near the cursor only, for editors send windows that move with it.
 */
import type { Cursor } from './lines.ts';

/** Characters on each side of the cursor by which a place is known. */
const NEAR = 128;
/** Of both sides together: less than this is no place, but the beginning of any file. */
const LEAST_NEAR = 16;

/** Characters that are typed, or pasted by a completion of a list, while one request is under way. */
const MAX_TYPED = 64;
/** Characters that are taken back meanwhile, and typed instead. More, and it is another text in the same place. */
const MAX_REMOVED = 8;

/** What editors put behind the cursor on their own when its counterpart is typed, and take away with it. */
const CLOSERS = /^[)\]}>"'`]{1,2}/;

/**
 * Whether `newer` is `older` after some keys. Equal texts are not: those are samples of the same completion. Nor is one
 * of which something was only taken back: it may as well be the older one, come late over a connection of its own. Nor
 * is a cursor that has moved in the same text: its client may want completions at both places.
 */
export function isTypedOn(older: Cursor, newer: Cursor): boolean {
  const change = changeOf(older.prefix, newer.prefix);
  if (change === undefined || change.typed === '') return false;
  if (change.shared + Math.min(newer.suffix.length, NEAR) < LEAST_NEAR) return false;
  return isSameAfter(older.suffix, newer.suffix, change);
}

interface Change {
  /** Characters before the change, at most `NEAR`. */
  shared: number;
  typed: string;
}

/** What was typed at the end of a text, after some of it was taken back; undefined if it is another text. */
function changeOf(older: string, newer: string): Change | undefined {
  // A short text must be there as a whole: what is taken back of it may be all that it says.
  const most = older.length < NEAR + MAX_REMOVED ? 0 : MAX_REMOVED;
  for (let removed = 0; removed <= most; removed++) {
    const end = older.length - removed;
    const stem = older.slice(Math.max(0, end - NEAR), end);
    const at = newer.lastIndexOf(stem);
    if (at < 0 || (stem.length < NEAR && at > 0)) continue;
    const typed = newer.slice(at + stem.length);
    if (typed.length > (removed === 0 ? MAX_TYPED : MAX_REMOVED)) continue;
    return { shared: stem.length, typed };
  }
  return undefined;
}

function isSameAfter(older: string, newer: string, { typed }: Change): boolean {
  if (isSameNear(older, newer)) return true;
  const [gained = ''] = CLOSERS.exec(newer) ?? [];
  const [lost = ''] = CLOSERS.exec(older) ?? [];
  for (let count = 1; count <= gained.length; count++) {
    if (isSameNear(older, newer.slice(count))) return true;
  }
  for (let count = 1; count <= lost.length; count++) {
    if (isSameNear(older.slice(count), newer) && !typed.endsWith(older.slice(0, count))) return true;
  }
  return false;
}

/** Short texts must be the same as a whole. */
function isSameNear(one: string, other: string): boolean {
  return one.slice(0, NEAR) === other.slice(0, NEAR);
}
