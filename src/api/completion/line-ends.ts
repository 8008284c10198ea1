/**
 * Line ends. The engine only reads and writes line feeds, so that a file is the same to the model with any line ends.
 * An answer has the most frequent line ends of prompt and suffix, and of equally frequent ones those nearest before
 * the cursor.
 */
import type { Completion, EmittedToken, Frame } from '../../engine/types.ts';

export type LineEnd = '\n' | '\r\n' | '\r';

const LINE_END = /\r\n|\r|\n/g;

/** The text on both sides of the cursor. */
interface Sides {
  prefix: string;
  suffix: string;
}

/** A text with the line ends that the engine knows. */
export function withLineFeeds(text: string): string {
  return text.includes('\r') ? text.replaceAll(LINE_END, '\n') : text;
}

/**
 * Both sides as the engine reads them: with its line ends, and without half characters. A cursor within a CRLF is moved
 * before it.
 */
export function readSides({ prefix, suffix }: Sides): Sides {
  const splitsEnd = prefix.endsWith('\r') && suffix.startsWith('\n');
  const before = splitsEnd ? prefix.slice(0, -1) : prefix;
  return { prefix: withLineFeeds(before).toWellFormed(), suffix: withLineFeeds(suffix).toWellFormed() };
}

/** The line ends of the text around a cursor; \n where it has none. */
export function lineEndOf({ prefix, suffix }: Sides): LineEnd {
  if (!prefix.includes('\r') && !suffix.includes('\r')) return '\n';
  const splitsEnd = prefix.endsWith('\r') && suffix.startsWith('\n');
  const before = ends(splitsEnd ? prefix.slice(0, -1) : prefix);
  const all = [...before.toReversed(), ...ends(splitsEnd ? `\r${suffix}` : suffix)];
  const counts = new Map<LineEnd, number>();
  for (const end of all) counts.set(end, (counts.get(end) ?? 0) + 1);
  // The first one of equal counts: a map keeps the order in which its keys were added.
  return [...counts].reduce((best, next) => (next[1] > best[1] ? next : best))[0];
}

function ends(text: string): LineEnd[] {
  return (text.match(LINE_END) ?? []) as LineEnd[];
}

/** A text of the engine with the line ends of a file. */
export function withLineEnds(text: string, lineEnd: LineEnd): string {
  return lineEnd === '\n' ? text : text.replaceAll('\n', lineEnd);
}

export function frameWithLineEnds(frame: Frame, lineEnd: LineEnd): Frame {
  if (lineEnd === '\n') return frame;
  const { text, settled, canvas } = frame;
  const slots = canvas?.slots.map((slot) => ({ ...slot, text: withLineEnds(slot.text, lineEnd) }));
  return {
    text: withLineEnds(text, lineEnd),
    settled: withLineEnds(settled, lineEnd),
    ...(canvas && slots && { canvas: { ...canvas, slots } }),
  };
}

/** A completion with the line ends of a file, in its tokens and in the names of their alternatives as well. */
export function completionWithLineEnds(completion: Completion, lineEnd: LineEnd): Completion {
  if (lineEnd === '\n') return completion;
  const { text, tokens } = completion;
  return {
    ...completion,
    text: withLineEnds(text, lineEnd),
    ...(tokens && { tokens: tokens.map((token) => tokenWithLineEnds(token, lineEnd)) }),
  };
}

function tokenWithLineEnds(token: EmittedToken, lineEnd: LineEnd): EmittedToken {
  const { text, alternatives } = token;
  return {
    ...token,
    text: withLineEnds(text, lineEnd),
    ...(alternatives && {
      alternatives: alternatives.map((other) => ({ ...other, name: withLineEnds(other.name, lineEnd) })),
    }),
  };
}
