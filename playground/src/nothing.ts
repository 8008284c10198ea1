/** Why there is no text to show, in words. */
import { percent } from './figures.ts';
import type { Result } from './service/completions.ts';

/** Having nothing to add is an answer; not being sure is none. */
export function nothingToShow({ endedBy, confidence }: Pick<Result, 'endedBy' | 'confidence'>): string {
  if (endedBy !== 'unsure') return 'Nothing to add here.';
  const sure = confidence === undefined ? '' : ` (${percent(confidence)})`;
  return `Not sure enough to show anything${sure}.`;
}
