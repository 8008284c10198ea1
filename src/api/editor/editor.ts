/** A completion as an editor can show it, or an empty one where the model was not sure enough. */
import type { Completion } from '../../engine/types.ts';
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
  return text === completion.text ? completion : { ...completion, text, finishReason: 'stop' };
}
