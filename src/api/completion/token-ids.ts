/**
 * Token ids that requests name: prompts that are tokens already, and biases. They are those of the model's
 * `tokenizer.json`.
 */
import type { Vocabulary } from '../../engine/types.ts';
import { invalid, type PromptText } from './completion.ts';
import { BAN } from './schema.ts';

/** A prompt as the schema takes it: text or token ids, one or several. */
export type PromptInput = string | readonly string[] | readonly number[] | readonly (readonly number[])[];

interface PromptOptions {
  vocabulary: Vocabulary;
  suffix: string;
  /** Makes the text around the cursor of a prompt that is text. */
  promptOf: (text: string) => PromptText;
}

/**
 * The prompts of a request. Token ids are used unchanged except for line ends; markers in their text are not
 * interpreted.
 * @throws ApiError 400 for an id that is not a text token
 */
export function promptsOf(input: PromptInput, options: PromptOptions): PromptText[] {
  if (typeof input === 'string') return [options.promptOf(input)];
  if (isTokens(input)) return [tokenPrompt(input, 'prompt', options)];
  return input.map((prompt, at) =>
    typeof prompt === 'string' ? options.promptOf(prompt) : tokenPrompt(prompt, `prompt.${at}`, options),
  );
}

function isTokens(input: Exclude<PromptInput, string>): input is readonly number[] {
  return typeof input[0] === 'number';
}

function tokenPrompt(tokens: readonly number[], param: string, { vocabulary, suffix }: PromptOptions): PromptText {
  const at = tokens.findIndex((id) => !vocabulary.isText(id));
  if (at >= 0) throw invalid(`${param}.${at}`, `${tokens[at]} is not the id of a token of text.`);
  const text = vocabulary.decode(tokens);
  // The model only knows
  // : other line ends are read as
  // .
  return { text, prefix: text, suffix, ...(!text.includes('\r') && { tokens }) };
}

/**
 * Biases by token id. Text tokens can be biased, and tokens that end a completion.
 * @throws ApiError 400 for any other id
 */
export function biasesOf(biases: Readonly<Record<string, number>>, vocabulary: Vocabulary): Map<number, number> {
  const entries = Object.entries(biases).map(([id, bias]): [number, number] => [Number(id), bias]);
  const wrong = entries.find(([id]) => !vocabulary.isText(id) && !vocabulary.isEnd(id));
  if (wrong) throw invalid(`logit_bias.${wrong[0]}`, 'is not the id of a token of text, nor of one that ends it.');
  return new Map(entries.filter(([, bias]) => bias !== 0));
}

/**
 * Biases of llama.cpp: by id, or by text, each of whose tokens is biased. Those of one token add up to a ban at most.
 * @throws ApiError 400 for an id that is neither of text nor of an end
 */
export function biasesOfPairs(pairs: readonly (readonly [number | string, number])[], vocabulary: Vocabulary) {
  const sums: Record<string, number> = {};
  for (const [token, bias] of pairs) {
    for (const id of typeof token === 'number' ? [token] : vocabulary.encode(token)) {
      sums[id] = Math.min(Math.max(-BAN, (sums[id] ?? 0) + bias), BAN);
    }
  }
  return biasesOf(sums, vocabulary);
}
