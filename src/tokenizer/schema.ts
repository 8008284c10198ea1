/** The part of Hugging Face's `tokenizer.json` that byte-level BPE needs; anything else in a file is refused. */

import * as z from 'zod';

/** The tokenizer file is damaged, or asks for something that this reader does not support. */
export class TokenizerError extends Error {
  override name = 'TokenizerError';
}

const split = z.object({
  type: z.literal('Split'),
  pattern: z.object({ Regex: z.string().min(1) }),
  behavior: z.literal('Isolated'),
  invert: z.literal(false),
});
const byteLevel = z.object({
  type: z.literal('ByteLevel'),
  add_prefix_space: z.literal(false),
  use_regex: z.literal(false),
});
const id = z.int().nonnegative();

const tokenizerSchema = z.object({
  added_tokens: z.array(z.object({ id, content: z.string().min(1) })),
  normalizer: z.object({ type: z.literal('NFC') }).nullable(),
  pre_tokenizer: z.object({ type: z.literal('Sequence'), pretokenizers: z.tuple([split, byteLevel]) }),
  decoder: z.object({ type: z.literal('ByteLevel') }),
  model: z.object({
    type: z.literal('BPE'),
    dropout: z.null().optional(),
    continuing_subword_prefix: z.literal('').nullish(),
    end_of_word_suffix: z.literal('').nullish(),
    ignore_merges: z.literal(false).optional(),
    vocab: z.record(z.string(), id),
    // Older files write a merge as "left right".
    merges: z.array(z.union([z.tuple([z.string(), z.string()]), z.string()])),
  }),
});

export type TokenizerJson = z.infer<typeof tokenizerSchema>;

/** Parsed JSON → the checked file. Throws TokenizerError that names what is wrong. */
export function parseTokenizerJson(json: unknown): TokenizerJson {
  const result = tokenizerSchema.safeParse(json);
  if (!result.success) throw new TokenizerError(`tokenizer.json: ${z.prettifyError(result.error)}`);
  return result.data;
}
