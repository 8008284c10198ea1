/** The pieces of a completion that can be accepted alone. */

/** White space, then a run of letters or one of signs: the step of a cursor that moves by words. */
const WORD = /^\s*(?:[\p{L}\p{N}_$]+|[^\p{L}\p{N}_$\s]+)/u;

/** The rest of the line, or the whole next line where the rest is empty. */
const LINE = /^\n?[^\n]*/;

/** The first word of a text that is not empty; the whole text if it is white space. */
export function firstWord(text: string): string {
  return WORD.exec(text)?.[0] ?? text;
}

/** The first line of a text that is not empty. */
export function firstLine(text: string): string {
  return LINE.exec(text)![0];
}
