/** A completion as an editor can show it, or an empty one where the model was not sure enough. */
import { shortened } from '../../engine/emitted-token.ts';
import type { Completion, EmittedToken } from '../../engine/types.ts';
import type { Cursor } from './lines.ts';
import { showable } from './showable.ts';

/** Geometric mean of the token probabilities below which a completion is more guess than answer. */
export const EDITOR_MIN_CONFIDENCE = 0.2;

export interface EditorRules {
  /** Least geometric mean of the probabilities of the tokens, from 0 (show everything) to 1. */
  minConfidence: number;
}

/**
 * The completion with the text that can be shown, its tokens and their confidence; the usage is that of all generated
 * tokens. The `ending` of an empty completion says whether nothing should be added or the model was not confident.
 */
export function forEditor(completion: Completion, cursor: Cursor, { minConfidence }: EditorRules): Completion {
  const text = showable(completion.text, cursor);
  const tokens = completion.tokens && tokensOf(text, completion.tokens);
  const confidence = tokens && tokens.length > 0 ? meanLogProbability(tokens) : completion.confidence;
  const shown = { ...completion, ...(tokens && { tokens }), text, confidence };
  if (Math.exp(confidence) < minConfidence) {
    return { ...shown, ...(tokens && { tokens: [] }), text: '', finishReason: 'stop', ending: { by: 'unsure' } };
  }
  if (text === completion.text) return completion;
  const isTrimmed = text === completion.text.trimEnd() && completion.finishReason === 'stop';
  return isTrimmed ? shown : { ...shown, finishReason: 'stop', ending: { by: 'editor' } };
}

/** The tokens of a beginning of their text; what can be shown is always one. */
function tokensOf(text: string, tokens: readonly EmittedToken[]): EmittedToken[] {
  const shown: EmittedToken[] = [];
  let left = text.length;
  for (const token of tokens) {
    if (left <= 0) break;
    shown.push(shortened(token, left));
    left -= token.text.length;
  }
  return shown;
}

function meanLogProbability(tokens: readonly EmittedToken[]): number {
  return tokens.reduce((sum, { logProbability }) => sum + logProbability, 0) / tokens.length;
}
