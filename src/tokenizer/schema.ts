/** The part of Hugging Face's `tokenizer.json` that byte-level BPE needs; anything else in a file is refused. */

import * as z from 'zod';

/** The tokenizer file is damaged, or asks for something that this reader does not support. */
export class TokenizerError extends Error {
  override name = 'TokenizerError';
}

const id = z.int().nonnegative();

const split = z.object({
  type: z.literal('Split'),
  pattern: z.object({ Regex: z.string().min(1) }),
  behavior: z.literal('Isolated'),
  invert: z.literal(false),
});
const digits = z.object({ type: z.literal('Digits'), individual_digits: z.boolean() });
const byteLevel = z.object({
  type: z.literal('ByteLevel'),
  add_prefix_space: z.literal(false),
  // The library's own default.
  use_regex: z.boolean().default(true),
});
const preTokenizer = z.discriminatedUnion('type', [split, digits, byteLevel]);

const addedToken = z.object({
  id,
  content: z.string().min(1),
  special: z.boolean().default(false),
  single_word: z.boolean().default(false),
  lstrip: z.boolean().default(false),
  rstrip: z.boolean().default(false),
  normalized: z.boolean().default(false),
});

/** Token → id. A Map, because a vocabulary of source code may contain `constructor` or `__proto__`. */
const vocabulary = z.unknown().transform((value, context): Map<string, number> => {
  const entries = typeof value === 'object' && value !== null && !Array.isArray(value) ? Object.entries(value) : [];
  if (entries.length === 0) context.addIssue({ code: 'custom', message: 'expected an object of tokens and their ids' });
  const wrong = entries.find(([, tokenId]) => !id.safeParse(tokenId).success);
  if (wrong)
    context.addIssue({ code: 'custom', message: `the id of ${JSON.stringify(wrong[0])} is not a whole number` });
  return new Map(entries);
});

const tokenizerSchema = z.object({
  added_tokens: z.array(addedToken),
  normalizer: z.object({ type: z.literal('NFC') }).nullable(),
  pre_tokenizer: z.union([byteLevel, z.object({ type: z.literal('Sequence'), pretokenizers: z.array(preTokenizer) })]),
  decoder: z.object({ type: z.literal('ByteLevel') }),
  model: z.object({
    type: z.literal('BPE'),
    dropout: z.null().optional(),
    continuing_subword_prefix: z.literal('').nullish(),
    end_of_word_suffix: z.literal('').nullish(),
    ignore_merges: z.literal(false).optional(),
    vocab: vocabulary,
    // Older files write a merge as "left right".
    merges: z.array(z.union([z.tuple([z.string(), z.string()]), z.string()])),
  }),
});

export type AddedTokenJson = z.infer<typeof addedToken>;
export type PreTokenizerJson = z.infer<typeof preTokenizer>;
export type TokenizerJson = z.infer<typeof tokenizerSchema>;

/** Parsed JSON → the checked file. Throws TokenizerError that names what is wrong. */
export function parseTokenizerJson(json: unknown): TokenizerJson {
  const result = tokenizerSchema.safeParse(json);
  if (!result.success) throw new TokenizerError(`tokenizer.json: ${z.prettifyError(result.error)}`);
  return result.data;
}
