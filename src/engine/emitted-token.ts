/** A token of a completion as a client sees it. */
import type { EmittedToken } from './types.ts';

/** The name of a token in all parts of an answer: its text, or its bytes if they are not whole characters. */
export function labelOf({ text, bytes }: EmittedToken): string {
  return bytes ?? text;
}

/**
 * The UTF-16 units of a token from `start` up to `end`; among its alternatives it has the same label. A later
 * alternative with the same label is left out, because clients read labels as keys.
 */
export function shortened(token: EmittedToken, end: number, start = 0): EmittedToken {
  if ((start <= 0 && token.text.length <= end) || token.bytes !== undefined) return token;
  const cut = { ...token, text: token.text.slice(Math.max(0, start), end) };
  if (token.alternatives === undefined) return cut;
  const taken = token.alternatives.map(({ name }) => name).lastIndexOf(labelOf(token));
  const alternatives = token.alternatives
    .filter(({ name }, at) => at === taken || name !== cut.text)
    .map((other) => (other.name === token.text ? { ...other, name: cut.text } : other));
  return { ...cut, alternatives };
}
