/** Stop strings: where a text ends, and how much of an unfinished text cannot become part of a stop string any more. */

/** Index of the first stop string in `text`, or -1. */
export function findStop(text: string, stops: readonly string[]): number {
  // Half a surrogate pair is in no text, though it looks so to indexOf.
  const whole = stops.filter((stop) => stop.isWellFormed());
  const found = whole.map((stop) => text.indexOf(stop)).filter((index) => index >= 0);
  return found.length > 0 ? Math.min(...found) : -1;
}

/** The stop string at an index of `text`: the shortest one, because a text reaches it first. */
export function stopAt(text: string, at: number, stops: readonly string[]): string | undefined {
  const found = stops.filter((stop) => text.startsWith(stop, at));
  return found.toSorted((a, b) => a.length - b.length)[0];
}

/** Length of `text` without an end that a stop string begins with. `text` contains no whole stop string. */
export function lengthBeforePartialStop(text: string, stops: readonly string[]): number {
  const longest = Math.max(0, ...stops.map((stop) => stop.length - 1));
  for (let at = Math.max(0, text.length - longest); at < text.length; at++) {
    if (stops.some((stop) => stop.startsWith(text.slice(at)))) return at;
  }
  return text.length;
}
