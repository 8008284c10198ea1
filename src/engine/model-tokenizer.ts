import { ConfigError } from '../denoiser/transformer/shape.ts';
import { loadTokenizer, type SpecialTokens, type Tokenizer } from '../tokenizer/tokenizer.ts';

/** Throws TokenizerError, and ConfigError when the tokenizer has tokens that the model has not. */
export function modelTokenizer(
  json: unknown,
  { vocabSize }: { vocabSize: number },
  special?: SpecialTokens,
): Tokenizer {
  const tokenizer = loadTokenizer(json, special);
  if (tokenizer.vocabSize > vocabSize) {
    throw new ConfigError(`config.json: vocab_size is ${vocabSize}, the tokenizer has ${tokenizer.vocabSize} tokens`);
  }
  return tokenizer;
}
