/**
 * Fields of these dialects, and of engines that implement them, that ask for an answer that this model cannot give. All
 * dialects share the table, so that a client that changes its dialect gets the same refusals. Fields that only change
 * sampling probabilities, and that clients send as presets, are handled by each dialect.
 */
import * as z from 'zod';

/** Issue parameter that marks a well-formed value which this model cannot honour. */
export const UNSUPPORTED = { code: 'unsupported_parameter' };

/** A parameter that is accepted only with a neutral value, one of `allowed`. */
export function neutral(allowed: z.ZodType, reason: string) {
  return z
    .unknown()
    .refine((value) => value === undefined || allowed.safeParse(value).success, { error: reason, params: UNSUPPORTED })
    .optional()
    .meta({
      description: `Refused with any other value: ${reason}.`,
      // The refinement does not show in a JSON schema.
      override: ({ jsonSchema }) => {
        const { $schema: _, ...described } = z.toJSONSchema(allowed, { io: 'input' });
        Object.assign(jsonSchema, described);
      },
    });
}

/** Values that request nothing, in any type that a client may write. */
export const nothing = z.union([z.literal([false, '', 0]), z.array(z.unknown()).max(0), z.strictObject({})]);

const STRUCTURED = 'structured outputs are not supported';
const MINIMUM = 'a minimum length is not supported; leave it out or send 0';
const STOP = 'is not supported; use stop';
const TOKENS = 'is not supported; ban tokens with logit_bias';
const PROBABILITIES = 'log-probabilities of prompts are not available';
const NO_CHAT = 'is not supported: this model completes text and takes no messages; send a prompt';

/** What no dialect can honour. */
export const refusedFields = {
  response_format: neutral(z.union([z.object({ type: z.literal('text') }), nothing]), STRUCTURED),
  structured_outputs: neutral(nothing, STRUCTURED),
  guided_json: neutral(nothing, STRUCTURED),
  guided_regex: neutral(nothing, STRUCTURED),
  guided_choice: neutral(nothing, STRUCTURED),
  guided_grammar: neutral(nothing, STRUCTURED),
  guided_json_object: neutral(nothing, STRUCTURED),
  grammar: neutral(nothing, 'grammars are not supported'),
  json_schema: neutral(nothing, STRUCTURED),
  regex: neutral(nothing, STRUCTURED),
  ebnf: neutral(nothing, STRUCTURED),
  format: neutral(nothing, STRUCTURED),
  min_tokens: neutral(z.literal(0), MINIMUM),
  min_new_tokens: neutral(z.literal(0), MINIMUM),
  min_length: neutral(z.literal(0), MINIMUM),
  ignore_eos: neutral(nothing, 'is not supported; ban the end tokens with logit_bias'),
  stop_token_ids: neutral(nothing, STOP),
  // Other names of stop, and more than it can do: a text must not run on because one was ignored.
  stop_sequences: neutral(nothing, STOP),
  stop_sequence: neutral(nothing, STOP),
  stopping_strings: neutral(nothing, STOP),
  stop_regex: neutral(nothing, STOP),
  max_time: neutral(nothing, 'is not supported; use deadline_ms'),
  bad_words: neutral(nothing, TOKENS),
  allowed_token_ids: neutral(nothing, TOKENS),
  include_stop_str_in_output: neutral(nothing, 'is not supported: texts end before the stop string'),
  // 0 asks for those of the prompt's own tokens.
  prompt_logprobs: neutral(z.literal(false), PROBABILITIES),
  return_token_ids: neutral(nothing, 'token ids are not told; ask /tokenize'),
  return_tokens_as_token_ids: neutral(nothing, 'token ids are not told; ask /tokenize'),
  use_beam_search: neutral(nothing, 'beam search is not supported; use best_of'),
  truncate_prompt_tokens: neutral(nothing, 'is not supported: what does not fit is cut far from the cursor'),
  prompt_embeds: neutral(nothing, 'embeddings are not read'),
  logits_processors: neutral(nothing, 'is not supported; use logit_bias'),
  lora: neutral(nothing, 'adapters are not supported'),
  images: neutral(nothing, 'images are not supported'),
  messages: neutral(nothing, NO_CHAT),
  tools: neutral(nothing, 'tools are not supported'),
};

/**
 * Samplers that this model does not have, where asking for them is deliberate. Clients of llama.cpp and Ollama send
 * presets of all of them, so those dialects ignore them.
 */
export const refusedSamplers = {
  repetition_penalty: neutral(z.literal(1), 'is not supported; use presence_penalty or frequency_penalty'),
  repeat_penalty: neutral(z.literal(1), 'is not supported; use presence_penalty or frequency_penalty'),
  length_penalty: neutral(z.literal(1), 'is not supported'),
  top_k: neutral(z.literal([-1, 0]), 'is not supported; use top_p, or leave it out'),
  min_p: neutral(z.literal(0), 'is not supported; use top_p, or leave it out'),
  typical_p: neutral(z.literal(1), 'is not supported; use top_p, or leave it out'),
};
