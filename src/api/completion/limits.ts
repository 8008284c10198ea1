/**
 * Bounds of the work of a request, under every name that clients of one dialect or another have for them. Each dialect
 * takes all of them: an ignored bound would let the answer run on.
 */
import * as z from 'zod';

/** Tokens of a completion if the request has no limit: two canvases, as much as an editor shows at once. */
export const DEFAULT_MAX_TOKENS = 64;

/** As many as the model can write; what it cannot write is cut in any case. */
const ALL_TOKENS = Number.MAX_SAFE_INTEGER;

/** A whole number, also beyond 2^53, where JSON has only some of them. */
export function wholeNumber({ min, max }: { min?: number; max?: number } = {}) {
  return z
    .number()
    .min(min ?? Number.NEGATIVE_INFINITY)
    .max(max ?? Number.POSITIVE_INFINITY)
    .refine(Number.isInteger, { error: 'must be a whole number' })
    .meta({
      override: ({ jsonSchema }) => {
        jsonSchema.type = 'integer';
        if (min === undefined) delete jsonSchema.minimum;
        if (max === undefined) delete jsonSchema.maximum;
      },
    });
}

const tokens = wholeNumber({ min: 0 }).optional();
const tokensOrAll = wholeNumber().optional();

/** Tokens of a completion: the smallest limit applies. */
export const lengthFields = {
  max_tokens: tokens.describe(`Tokens to write at most, ${DEFAULT_MAX_TOKENS} unless another name of it is given.`),
  max_completion_tokens: tokens.describe('Another name of `max_tokens`.'),
  max_output_tokens: tokens.describe('Another name of `max_tokens`.'),
  max_new_tokens: tokens.describe('Another name of `max_tokens`.'),
  max_tokens_to_sample: tokens.describe('Another name of `max_tokens`.'),
  max_length: tokens.describe('Another name of `max_tokens`.'),
  n_predict: tokensOrAll.describe("llama.cpp's name of `max_tokens`; below 0: as many as the model can write."),
  num_predict: tokensOrAll.describe("Ollama's name of `max_tokens`; below 0: as many as the model can write."),
};

export type LengthParams = { [Name in keyof typeof lengthFields]?: number | undefined };

/** The same for fields that are checked elsewhere: what is not a bound counts as absent. */
export const looseLengthFields = Object.fromEntries(
  Object.entries(lengthFields).map(([name, field]) => [name, field.catch(undefined)]),
);

/** Tokens to write at most, of one or more places of a request that name bounds. */
export function maxTokensOf(...places: readonly LengthParams[]): number {
  const bounds = places
    .flatMap((params) => (Object.keys(lengthFields) as (keyof LengthParams)[]).map((name) => params[name]))
    .filter((bound) => bound !== undefined)
    .map((bound) => (bound < 0 ? ALL_TOKENS : bound));
  return bounds.length > 0 ? Math.min(...bounds, ALL_TOKENS) : DEFAULT_MAX_TOKENS;
}

/** Steps and time: see docs/api.md. */
export const budgetFields = {
  max_steps: wholeNumber({ min: 1 })
    .optional()
    .describe('Denoising steps that each choice may take; the answer is the canvas after them.'),
  deadline_ms: z
    .number()
    .gt(0)
    .optional()
    .describe('Milliseconds that the choices together may take; the answer is the canvas at that time.'),
  t_max_predict_ms: z
    .number()
    .optional()
    .describe('The same, counted from the first denoising step, as in llama.cpp; no limit when 0 or less.'),
};

/** The part of each of `choices` in a bound from the first step on. */
export function denoisingBound({ t_max_predict_ms = 0 }: { t_max_predict_ms?: number | undefined }, choices: number) {
  return t_max_predict_ms > 0 ? { maxDenoisingMs: t_max_predict_ms / choices } : {};
}
