/** A completion as an editor can show it, or an empty one where the model was not sure enough. */
import { shortened } from '../../engine/emitted-token.ts';
import type { Completion, ConfidenceScale, EmittedToken } from '../../engine/types.ts';
import type { Cursor } from './lines.ts';
import { seamLength } from './seam.ts';
import { showable } from './showable.ts';

/** Of models whose confidence has no scale: geometric mean of the token probabilities. */
const DEFAULT_MIN_CONFIDENCE = 0.2;

/** Log-probabilities above it count as this one, whose odds are finite; as in training/evaluation/editor_places.py. */
const SUREST = -1e-3;

export interface EditorRules {
  /** Least confidence that is shown, from 0 (show everything) to 1; that of the model when absent. */
  minConfidence?: number | undefined;
}

/**
 * The completion with the text that can be shown, its tokens and their confidence; the usage is that of all generated
 * tokens. The `ending` of an empty completion says whether nothing should be added or the model was not confident.
 */
export function forEditor(
  completion: Completion,
  cursor: Cursor,
  { minConfidence }: EditorRules,
  scale?: ConfidenceScale,
): Completion {
  const text = showable(completion.text, cursor, completion.finishReason === 'length' ? 'cut' : 'whole');
  const start = text === '' ? 0 : seamLength(completion.text, cursor);
  const tokens = completion.tokens && tokensOf(completion.tokens, start, start + text.length);
  const total = tokens && tokens.length > 0 ? totalLogProbability(tokens) : completion.confidence;
  const mean = total / Math.max(1, tokens?.length ?? 1);
  // The log-probability of an empty text is that of its end.
  const end = tokens && tokens.length > 0 ? completion.endLogProbability : 0;
  const confidence = scale ? scaled(mean, total, end, scale) : mean;
  const shown = { ...completion, ...(tokens && { tokens }), text, confidence };
  if (Math.exp(confidence) < (minConfidence ?? scale?.leastShown ?? DEFAULT_MIN_CONFIDENCE)) {
    return { ...shown, ...(tokens && { tokens: [] }), text: '', finishReason: 'stop', ending: { by: 'unsure' } };
  }
  if (text === completion.text) return { ...completion, confidence };
  const whole = completion.text.slice(start);
  const isTrimmed = text === whole || (text === whole.trimEnd() && completion.finishReason === 'stop');
  return isTrimmed ? shown : { ...shown, finishReason: 'stop', ending: { by: 'editor' } };
}

/** The tokens of the part of their text from `start` up to `end`; what can be shown is always one. */
function tokensOf(tokens: readonly EmittedToken[], start: number, end: number): EmittedToken[] {
  const shown: EmittedToken[] = [];
  let at = 0;
  for (const token of tokens) {
    if (at >= end) break;
    const next = at + token.text.length;
    // Without text a token is a part of the character that the next one completes.
    if (next > start || (next === at && at >= start)) shown.push(shortened(token, end - at, start - at));
    at = next;
  }
  return shown;
}

function totalLogProbability(tokens: readonly EmittedToken[]): number {
  return tokens.reduce((sum, { logProbability }) => sum + logProbability, 0);
}

/**
 * The logarithm of the probability that a completion is right.
 * @param end log-probability of the token that ended it
 */
function scaled(mean: number, total: number, end: number | undefined, scale: ConfidenceScale): number {
  const odds = logOdds(total + (end ?? 0));
  const logit = scale.bias + scale.mean * mean + scale.odds * odds + (end === undefined ? scale.open : 0);
  return -Math.log1p(Math.exp(-logit));
}

/** ln(p / (1 − p)) of a probability given as its logarithm. */
function logOdds(logProbability: number): number {
  const bounded = Math.min(logProbability, SUREST);
  return bounded - Math.log(-Math.expm1(bounded));
}
