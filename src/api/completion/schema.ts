/** Request fields that the dialects share, and the reading of a body against a schema. */
import type { Context } from 'hono';
import * as z from 'zod';
import { ApiError } from '../../http/errors.ts';
import { readJson, withoutNulls } from './json-body.ts';
import { budgetFields, lengthFields, wholeNumber } from './limits.ts';
import { UNSUPPORTED } from './refused.ts';

/** OpenAI allows 4 stop strings; editors that stop at every kind of block end send more. */
export const MAX_STOP_STRINGS = 32;

/** Some dialects bound them only by what can be looked for in every step. */
export const MAX_LOOSE_STOP_STRINGS = 256;

/**
 * What Continue's Inception provider sends for an empty suffix, where a model with this token reads the end of the
 * file.
 */
const END_OF_FILE = '<|endoftext|>';

/**
 * Choices of one request, over all its prompts: the number of prompts that OpenAI accepts, because its description has
 * no limit. They are computed one after the other, each waits in the queue like other requests, and the time limit
 * applies to all together.
 */
export const MAX_CHOICES = 2048;

/** OpenAI's bound of `n`. */
export const MAX_CHOICES_PER_PROMPT = 128;

const tokens = z.array(z.int().min(0)).min(1);

/** One text, or several for one request; or the token ids of such. An empty one is the beginning of a document. */
export const promptField = z.union(
  [z.string(), z.array(z.string()).min(1).max(MAX_CHOICES), tokens.min(1), z.array(tokens).min(1).max(MAX_CHOICES)],
  {
    error: (issue) =>
      issue.input === undefined
        ? 'is required'
        : `must be a string, an array of token ids, or an array of at most ${MAX_CHOICES} of either`,
  },
);

/** DeepSeek's bound; OpenAI's is 5. */
export const MAX_LOG_PROBS = 20;

/** As many as OpenAI takes. Each is looked up for every slot of every step. */
export const MAX_BIASES = 300;

/** Bans a token or, with the other sign, all other tokens: far more than logits differ by. */
export const BAN = 100;

/** Bias of a logit. */
export const biasField = z.number().min(-BAN).max(BAN);

/** Biases by token id; -100 bans a token, 100 leaves no other. */
export const logitBiasField = z
  .record(z.string().regex(/^(0|[1-9]\d{0,8})$/, 'must have token ids as names'), biasField)
  .refine((biases) => Object.keys(biases).length <= MAX_BIASES, { error: `must have at most ${MAX_BIASES} entries` })
  .default({})
  .meta({
    maxProperties: MAX_BIASES,
    description:
      'Added to the logits of tokens, by their ids in tokenizer.json: -100 bans a token, 100 leaves no other.',
  });

/** A string or several; empty ones stop nothing. */
function stopStrings(most: number) {
  return z
    .union([z.string(), z.array(z.string()).max(most)], {
      error: `must be a string or an array of at most ${most} of them`,
    })
    .default([])
    .transform((stop) => [stop].flat().filter((text) => text !== ''));
}

export const stopField = stopStrings(MAX_STOP_STRINGS);

/** As Mistral, llama.cpp and Ollama describe it: any number of strings. */
export const looseStopField = stopStrings(MAX_LOOSE_STOP_STRINGS);

const penalty = z.number().min(-2).max(2).default(0);

/** Values beyond a ban change nothing more. */
const loosePenalty = z
  .number()
  .default(0)
  .transform((amount) => Math.min(Math.max(-BAN, amount), BAN));

/** A nucleus of 0 contains the most probable token; engines take values above 0. */
function nucleus(p: number): number {
  return p === 0 ? Number.EPSILON : p;
}

/** Any whole number, reduced to the 32 bits that an engine takes; numbers that fit are unchanged. */
export const seedField = wholeNumber().transform((seed) => (seed ^ Math.trunc(seed / 2 ** 32)) >>> 0);

/** A seed for a request without one. */
export function randomSeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0]!;
}

/** Decoding parameters of every dialect. Defaults: greedy, one choice, 64 tokens. */
export const decodingFields = {
  model: z.string({ error: 'is required: the name of a model, see /v1/models' }),
  suffix: z
    .string()
    .default('')
    .transform((suffix) => (suffix === END_OF_FILE ? '' : suffix)),
  ...lengthFields,
  ...budgetFields,
  temperature: z.number().min(0).max(2).default(0),
  top_p: z.number().min(0).max(1).default(1).transform(nucleus),
  presence_penalty: penalty,
  frequency_penalty: penalty,
  n: wholeNumber({ min: 1, max: MAX_CHOICES_PER_PROMPT }).default(1),
  seed: seedField.optional(),
  stop: stopField,
  stream: z.boolean().default(false),
  stream_options: z.object({ include_usage: z.boolean().default(false) }).optional(),
  diffusing: z
    .union([z.boolean(), z.literal('canvas')], { error: 'must be true, false or "canvas"' })
    .default(false)
    .describe(
      'Streams the whole canvas at each denoising step: the text of a chunk replaces that of the previous chunk. With `canvas` each chunk also has the slots of the canvas, their tokens and what the step did to them.',
    ),
  decoding: z
    .enum(['diffusion', 'autoregressive'])
    .default('diffusion')
    .describe(
      'With `autoregressive` the same weights decode from left to right, one token per pass, for comparison: needs an empty suffix, and accepts neither thresholds nor a canvas width.',
    ),
  canvas_width: z
    .int()
    .min(1)
    .optional()
    .describe('Slots of each canvas, one of the widths in /v1/models; by default the model chooses.'),
  freeze_after: z
    .int()
    .min(1)
    .optional()
    .describe(
      'Passes over a revealed slot after which it is frozen: it keeps its token and is not computed any more. A number above that of the steps computes every slot at every step.',
    ),
  reuse: z
    .boolean()
    .default(false)
    .describe(
      'If only the beginning of an earlier completion has been typed since, the answer may be its rest: it needs no step, but may differ from the prediction for the longer prompt.',
    ),
  reveal_threshold: z.number().gt(0).max(1).optional().describe('Confidence at which a slot is revealed.'),
  edit_threshold: z.number().gt(0).max(1).optional().describe('Probability at which a revealed token is edited.'),
  /** See src/api/editor/showable.ts. */
  editor: z.boolean().default(false).describe('Return only what an editor can show at the cursor.'),
  min_confidence: z
    .number()
    .min(0)
    .max(1)
    .optional()
    .describe(
      'With `editor`: the text is empty when it is less probably right than this; the default is that of the model.',
    ),
};

/** An unset name, or an empty one, is that of the default. */
export const localModelField = z.string().default('').describe('A name of /v1/models; the first of them when absent.');

/** The same as llama.cpp, Ollama and Tabby describe it, without bounds; below 0 a temperature is also greedy. */
export const looseDecodingFields = {
  temperature: z
    .number()
    .default(0)
    .transform((temperature) => Math.max(0, temperature)),
  top_p: z
    .number()
    .default(1)
    .transform((p) => nucleus(Math.min(Math.max(0, p), 1))),
  presence_penalty: loosePenalty,
  frequency_penalty: loosePenalty,
  stop: looseStopField,
};

/**
 * Reads the body as JSON against a schema. A field that is `null` counts as absent, as in OpenAI's API, also inside of
 * others.
 * @throws ApiError 400 whose `param` is the path of the first field that is wrong, 415 for another media type or
 *   encoding.
 */
export async function readBody<T extends z.ZodType>(c: Context, schema: T): Promise<z.output<T>> {
  return checkBody(await readJson(c), schema);
}

/** Checks a body that was read. Throws ApiError 400 as `readBody` does. */
export function checkBody<T extends z.ZodType>(body: unknown, schema: T): z.output<T> {
  const result = schema.safeParse(withoutNulls(body));
  if (result.success) return result.data;
  throw errorOfIssue(result.error.issues[0]!);
}

/**
 * Whether the address asks for what an editor can show, `?editor=true`: for clients that can set the address and not
 * the body. Throws ApiError 400 for another value.
 */
export function editorInAddress(c: Context): boolean {
  const value = c.req.query('editor');
  if (value === undefined || value === 'false') return false;
  if (value === 'true') return true;
  throw new ApiError(400, 'editor: must be true or false.', { param: 'editor', code: 'invalid_parameter' });
}

function errorOfIssue(issue: z.core.$ZodIssue): ApiError {
  if (issue.path.length === 0 && issue.code !== 'custom') {
    return new ApiError(400, 'The body must be a JSON object.', { code: 'invalid_json' });
  }
  const param = issue.path.join('.');
  const params: unknown = issue.code === 'custom' ? issue.params : undefined;
  const code = params === UNSUPPORTED ? UNSUPPORTED.code : 'invalid_parameter';
  return new ApiError(400, `${param}: ${issue.message}`, { param, code });
}
