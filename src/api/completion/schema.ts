/** Request fields that the dialects share, and the reading of a body against a schema. */
import type { Context } from 'hono';
import * as z from 'zod';
import { ApiError } from '../../http/errors.ts';

/** Tokens of a completion when the request names no bound: two canvases, what an editor shows at once. */
export const DEFAULT_MAX_TOKENS = 64;

/** OpenAI allows 4 stop strings; editors that stop at every kind of block end send more. */
export const MAX_STOP_STRINGS = 32;

/** What Continue's Inception provider sends for an empty suffix, where a model with this token reads the end of the file. */
const END_OF_FILE = '<|endoftext|>';

/** Choices of one request, over all its prompts; they are computed one after the other. */
export const MAX_CHOICES = 16;

export const MAX_CHOICES_PER_PROMPT = 8;

/** Issue parameter that marks a well-formed value which this model cannot honour. */
const UNSUPPORTED = { code: 'unsupported_parameter' };

const tokens = z.array(z.int().min(0)).min(1);

/** One text, or several for one request; or the token ids of such. */
export const promptField = z.union(
  [z.string(), z.array(z.string()).min(1).max(MAX_CHOICES), tokens, z.array(tokens).min(1).max(MAX_CHOICES)],
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

/** What bans a token, and leaves none but it with the other sign: far more than logits differ by. */
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

const stopString = z.string().min(1, 'a stop string cannot be empty').max(256);

export const stopField = z
  .union([stopString, z.array(stopString).max(MAX_STOP_STRINGS)], {
    error: `must be a non-empty string or an array of at most ${MAX_STOP_STRINGS} of them`,
  })
  .default([])
  .transform((stop) => (typeof stop === 'string' ? [stop] : stop));

/** A parameter that is accepted only while it asks for nothing, which is when it has one of the values of `allowed`. */
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

const penalty = z.number().min(-2).max(2).default(0);

/** A seed for a request that names none. */
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
  max_tokens: z.int().min(1).default(DEFAULT_MAX_TOKENS),
  temperature: z.number().min(0).max(2).default(0),
  top_p: z.number().gt(0).max(1).default(1),
  presence_penalty: penalty,
  frequency_penalty: penalty,
  n: z.int().min(1).max(MAX_CHOICES_PER_PROMPT).default(1),
  seed: z.int().optional(),
  stop: stopField,
  stream: z.boolean().default(false),
  stream_options: z.object({ include_usage: z.boolean().default(false) }).optional(),
  diffusing: z
    .union([z.boolean(), z.literal('canvas')], { error: 'must be true, false or "canvas"' })
    .default(false)
    .describe(
      'Streams the whole canvas at each denoising step: the text of a chunk replaces that of the chunk before. With `canvas` each chunk also has the slots of the canvas, their tokens and what the step did to them.',
    ),
  decoding: z
    .enum(['diffusion', 'autoregressive'])
    .default('diffusion')
    .describe(
      'With `autoregressive` the same weights write from left to right, a token a pass, to compare: needs an empty suffix, and has neither thresholds nor a canvas width.',
    ),
  canvas_width: z
    .int()
    .min(1)
    .optional()
    .describe('Slots of each canvas, one of the widths that /v1/models tells; the model chooses when absent.'),
  freeze_after: z
    .int()
    .min(1)
    .optional()
    .describe(
      'Passes over a revealed slot after which it is frozen: it stays as it is and costs nothing any more. More than there are steps computes every slot at every step.',
    ),
  reuse: z
    .boolean()
    .default(false)
    .describe(
      'The answer may be the rest of an earlier one, when what has been typed since is its beginning and nothing else has changed: at once, but not what the model would say of the longer prompt.',
    ),
  max_steps: z
    .int()
    .min(1)
    .optional()
    .describe('Denoising steps that each choice may take; the answer is what the canvas says by then.'),
  deadline_ms: z
    .number()
    .gt(0)
    .optional()
    .describe('Milliseconds that the choices together may take; the answer is what the canvas says by then.'),
  reveal_threshold: z.number().gt(0).max(1).optional().describe('Confidence at which a slot is revealed.'),
  edit_threshold: z.number().gt(0).max(1).optional().describe('Probability at which a revealed token is edited.'),
  /** See src/api/editor/showable.ts. */
  editor: z.boolean().default(false).describe('Answer what an editor can show at the cursor.'),
  min_confidence: z
    .number()
    .min(0)
    .max(1)
    .optional()
    .describe('With `editor`: the text is empty when the geometric mean of its token probabilities is below this.'),
};

/** Parameters that this model cannot honour; refused rather than ignored. */
export const unsupportedFields = {
  repetition_penalty: neutral(z.literal(1), 'is not supported; use presence_penalty or frequency_penalty'),
  top_k: neutral(z.literal([-1, 0]), 'is not supported; use top_p, or leave it out'),
  min_tokens: neutral(z.literal(0), 'a minimum length is not supported; leave it out or send 0'),
};

/**
 * Reads the body as JSON against a schema. A field that is `null` counts as absent, as in OpenAI's API.
 * @throws ApiError 400 whose `param` is the path of the first field that is wrong, 415 for another media type.
 */
export async function readBody<T extends z.ZodType>(c: Context, schema: T): Promise<z.output<T>> {
  return checkBody(await readJson(c), schema);
}

/** Reads the body as JSON, whatever it says. Throws ApiError 400 for no JSON, 415 for another media type. */
export async function readJson(c: Context): Promise<unknown> {
  const mediaType = c.req.header('content-type');
  if (mediaType !== undefined && !/^application\/([\w.-]+\+)?json\s*(;|$)/i.test(mediaType)) {
    throw new ApiError(415, `Send the body as application/json, not as ${mediaType}.`, {
      code: 'unsupported_media_type',
    });
  }
  try {
    return JSON.parse(await c.req.text());
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new ApiError(400, 'The body is not valid JSON.', { code: 'invalid_json' });
  }
}

/** Checks a body that was read. Throws ApiError 400 as `readBody` does. */
export function checkBody<T extends z.ZodType>(body: unknown, schema: T): z.output<T> {
  const result = schema.safeParse(withoutNulls(body));
  if (result.success) return result.data;
  throw errorOfIssue(result.error.issues[0]!);
}

/**
 * Whether the address asks for what an editor can show, `?editor=true`: for clients that can set the address and not the
 * body. Throws ApiError 400 for another value.
 */
export function editorInAddress(c: Context): boolean {
  const value = c.req.query('editor');
  if (value === undefined || value === 'false') return false;
  if (value === 'true') return true;
  throw new ApiError(400, 'editor: must be true or false.', { param: 'editor', code: 'invalid_parameter' });
}

function withoutNulls(body: unknown): unknown {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return body;
  return Object.fromEntries(Object.entries(body).filter(([, value]) => value !== null));
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
