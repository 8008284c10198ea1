/** Log-probabilities of tokens in the shape of OpenAI's text completions. */
import type { Completion } from '../../engine/types.ts';

export interface LogProbs {
  tokens: string[];
  /** Natural logarithms over the whole vocabulary: the confidence with which each token was revealed. */
  token_logprobs: number[];
  /** The most probable tokens of each place, and the one that was taken; a token that a stop string cuts has its whole name. */
  top_logprobs: Record<string, number>[];
  /** Characters of the completion before the token. */
  text_offset: number[];
}

/** Undefined tokens, of an engine that does not tell them, give null. */
export function logProbsOf({ tokens }: Completion): LogProbs | null {
  if (tokens === undefined) return null;
  let length = 0;
  return {
    tokens: tokens.map(({ text }) => text),
    token_logprobs: tokens.map(({ logProbability }) => logProbability),
    top_logprobs: tokens.map(({ text, logProbability, alternatives = [{ name: text, logProbability }] }) =>
      Object.fromEntries(alternatives.map(({ name, logProbability }) => [name, logProbability])),
    ),
    text_offset: tokens.map(({ text }) => {
      const offset = length;
      length += text.length;
      return offset;
    }),
  };
}
