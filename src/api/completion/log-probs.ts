/** Log-probabilities of tokens in the shape of OpenAI's text completions. */
import { labelOf } from '../../engine/emitted-token.ts';
import type { Completion } from '../../engine/types.ts';

export interface LogProbs {
  /** Each is a name of `top_logprobs` as well: its text, or `bytes:\xe2\x9c` where it is no whole character. */
  tokens: string[];
  /** Natural logarithms over the whole vocabulary: the confidence with which each token was revealed. */
  token_logprobs: number[];
  /** The most probable tokens of each place, and the one that was taken. */
  top_logprobs: Record<string, number>[];
  /** Characters (code points) of the completion before the token; bytes of one character all begin where it does. */
  text_offset: number[];
}

/** Null if the engine does not report tokens. */
export function logProbsOf({ tokens }: Completion): LogProbs | null {
  if (tokens === undefined) return null;
  let length = 0;
  return {
    tokens: tokens.map(labelOf),
    token_logprobs: tokens.map(({ logProbability }) => logProbability),
    top_logprobs: tokens.map((token) => {
      const { logProbability, alternatives = [{ name: labelOf(token), logProbability }] } = token;
      return Object.fromEntries(alternatives.map(({ name, logProbability }) => [name, logProbability]));
    }),
    text_offset: tokens.map(({ text }) => {
      const offset = length;
      for (const _ of text) length++;
      return offset;
    }),
  };
}
