/** A completion as an editor can show it, or an empty one where the model was not sure enough. */
import type { Completion, EmittedToken } from '../../engine/types.ts';
import type { Cursor } from './lines.ts';
import { showable } from './showable.ts';

/** Geometric mean of the token probabilities below which a completion is more guess than answer. */
export const EDITOR_MIN_CONFIDENCE = 0.2;

export interface EditorRules {
  /** Least geometric mean of the probabilities of the tokens, from 0 (show everything) to 1. */
  minConfidence: number;
}

/** The completion with the text that can be shown; the usage and the confidence stay those of what was generated. */
export function forEditor(completion: Completion, cursor: Cursor, { minConfidence }: EditorRules): Completion {
  const sure = Math.exp(completion.confidence) >= minConfidence;
  const text = sure ? showable(completion.text, cursor) : '';
  if (text === completion.text) return completion;
  const tokens = completion.tokens && { tokens: tokensOf(text, completion.tokens) };
  return { ...completion, ...tokens, text, finishReason: 'stop' };
}

/** The tokens of a beginning of their text; what can be shown is always one. */
function tokensOf(text: string, tokens: readonly EmittedToken[]): EmittedToken[] {
  const shown: EmittedToken[] = [];
  let left = text.length;
  for (const token of tokens) {
    if (left <= 0) break;
    shown.push({ ...token, text: token.text.slice(0, left) });
    left -= token.text.length;
  }
  return shown;
}
