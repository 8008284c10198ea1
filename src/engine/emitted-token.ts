/** A token of a completion as a client is told of it. */
import type { EmittedToken } from './types.ts';

/**
 * What the token is called wherever its completion names it: its text, or its bytes where they are no whole character.
 */
export function labelOf({ text, bytes }: EmittedToken): string {
  return bytes ?? text;
}

/**
 * The first `length` UTF-16 units of a token; among its alternatives it has the same label. One that was called so
 * already is told no more: names are keys in what clients read.
 */
export function shortened(token: EmittedToken, length: number): EmittedToken {
  if (token.text.length <= length || token.bytes !== undefined) return token;
  const cut = { ...token, text: token.text.slice(0, length) };
  if (token.alternatives === undefined) return cut;
  const taken = token.alternatives.map(({ name }) => name).lastIndexOf(labelOf(token));
  const alternatives = token.alternatives
    .filter(({ name }, at) => at === taken || name !== cut.text)
    .map((other) => (other.name === token.text ? { ...other, name: cut.text } : other));
  return { ...cut, alternatives };
}
