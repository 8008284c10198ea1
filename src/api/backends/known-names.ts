/**
 * Fields under the names that backends know. The local model reads some under the names of several dialects; a backend
 * reads one name, and refuses the others or, worse, ignores them.
 */
import * as z from 'zod';
import { membersOf, withName, withoutMembers, withValue } from '../../backend/json-text.ts';
import { type LengthParams, lengthFields } from '../completion/limits.ts';
import { checkBody } from '../completion/schema.ts';

type Fields = Readonly<Record<string, unknown>>;

const BOUND = 'max_tokens';
const OTHER_BOUNDS: ReadonlySet<string> = new Set(Object.keys(lengthFields).filter((name) => name !== BOUND));
const lengths = z.object(lengthFields);

/**
 * The JSON text of a completion request, with one bound under the name `max_tokens` and every other byte as it was.
 * Of several bounds the smallest stays, as where the local model answers; one below 0 bounds nothing and is left out.
 * @param fields the parsed text, without its nulls
 * @throws ApiError 400 for a value under another name that is not a bound.
 */
export function withKnownBound(text: string, fields: Fields): string {
  if (!membersOf(text).some(({ name }) => OTHER_BOUNDS.has(name))) return text;
  const bounds = Object.entries<LengthParams[keyof LengthParams]>(checkBody(fields, lengths))
    .filter((bound): bound is [string, number] => bound[1] !== undefined && bound[1] >= 0)
    .toSorted(([, a], [, b]) => a - b);
  const smallest = bounds[0]?.[0];
  if (fields[BOUND] !== undefined) {
    const alone = withoutMembers(text, OTHER_BOUNDS);
    return smallest === undefined || smallest === BOUND ? alone : withValue(alone, BOUND, bounds[0]![1]);
  }
  const superfluous = new Set([BOUND, ...OTHER_BOUNDS].filter((name) => name !== smallest));
  const alone = withoutMembers(text, superfluous);
  return smallest === undefined ? alone : withName(alone, smallest, BOUND);
}

/** The same with the seed of Mistral's clients under the name that other dialects have for it. */
export function withKnownSeed(text: string, { seed, random_seed }: Fields): string {
  return seed === undefined && random_seed !== undefined ? withName(text, 'random_seed', 'seed') : text;
}
