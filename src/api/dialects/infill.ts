/**
 * POST /infill: llama.cpp's fill in the middle, as llama.vim and llama.vscode call it.
 * https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md
 *
 * Without effect, because they steer what this model does not have: `top_k`, `min_p`, `repeat_penalty`, `samplers` and
 * other samplers, `id_slot`, `cache_prompt` (always on), `t_max_prompt_ms`. `n_indent` is what the editor rules find in
 * the text. Unlike in llama.cpp the temperature is 0 unless given, and the first of several choices is always the
 * greedy one.
 */
import type { Context } from 'hono';
import * as z from 'zod';
import type { ModelCatalog } from '../../engine/catalog.ts';
import type { Completion, Engine } from '../../engine/types.ts';
import { PLAIN_EVENTS } from '../../http/event-stream.ts';
import { type AnswerFormat, engineFor, respond } from '../completion/answer.ts';
import {
  type CompletionCall,
  type FinishedChoice,
  invalid,
  type PromptText,
  samplingOf,
} from '../completion/completion.ts';
import { budgetFields, lengthFields, maxTokensOf, wholeNumber } from '../completion/limits.ts';
import { lineEndOf, readSides } from '../completion/line-ends.ts';
import type { Piece } from '../completion/pieces.ts';
import { neutral, refusedFields } from '../completion/refused.ts';
import {
  BAN,
  decodingFields,
  localModelField,
  looseDecodingFields,
  MAX_BIASES,
  MAX_CHOICES,
  MAX_CHOICES_PER_PROMPT,
  randomSeed,
  readBody,
  seedField,
} from '../completion/schema.ts';
import { timingsOf } from '../completion/timings.ts';
import { biasesOfPairs } from '../completion/token-ids.ts';
import { confidenceOf } from '../completion/usage.ts';
import { leftContext } from './snippets.ts';

/** Makes the further choices differ from the greedy one without leaving what is likely. */
const ALTERNATIVES_TEMPERATURE = 0.6;

/** Far more than clients send. Each is looked up for every slot of every step. */
const biases = { error: `must have at most ${MAX_BIASES} entries` };
const bias = z.union([z.number().transform((value) => Math.min(Math.max(-BAN, value), BAN)), z.literal(false)]);
const biased = z.union([z.int().min(0), z.string()]);

/** By ids or texts, as an object or as pairs; false bans a token. */
const logitBias = z
  .union([
    z.array(z.tuple([biased, bias])).max(MAX_BIASES, biases),
    z
      .record(z.string(), bias)
      .refine((entries) => Object.keys(entries).length <= MAX_BIASES, biases)
      .transform((entries) => Object.entries(entries).map(([name, value]) => [idOrText(name), value] as const)),
  ])
  .default([])
  .transform((pairs) => pairs.map(([token, value]) => [token, value === false ? -BAN : value] as const));

/** Names of an object that are numbers are ids. */
function idOrText(name: string): number | string {
  return /^(0|[1-9]\d{0,8})$/.test(name) ? Number(name) : name;
}

/** What llama.cpp takes for every completion. */
export const llamaFields = {
  ...looseDecodingFields,
  ...lengthFields,
  ...budgetFields,
  ...refusedFields,
  model: localModelField,
  n_cmpl: wholeNumber({ min: 1, max: MAX_CHOICES_PER_PROMPT }).optional(),
  n: wholeNumber({ min: 1, max: MAX_CHOICES_PER_PROMPT }).default(1).describe('Another name of `n_cmpl`.'),
  /** -1 is any. */
  seed: wholeNumber().default(-1),
  response_fields: z.array(z.string()).default([]),
  logit_bias: logitBias,
  n_probs: neutral(z.literal(0), 'log-probabilities have no place in these answers; ask /v1/completions'),
  logprobs: neutral(z.literal([0, false]), 'log-probabilities have no place in these answers; ask /v1/completions'),
  return_tokens: z
    .boolean()
    .default(false)
    .describe('Whole answers have the ids of their text in `tokens`; chunks of a stream always have those of theirs.'),
  stream: decodingFields.stream,
  min_confidence: decodingFields.min_confidence,
};

export const infillRequest = z.object({
  ...llamaFields,
  input_prefix: z.string().default(''),
  input_suffix: z.string().default(''),
  /** Chunks of other files, the most recent last. */
  input_extra: z.array(z.object({ text: z.string(), filename: z.string().optional() })).default([]),
  /** The line of the cursor, up to it. */
  prompt: z.string({ error: 'must be a string; token ids are not accepted' }).default(''),
  /** Our own: false for the text as the model wrote it. */
  editor: z.boolean().default(true),
});

/** The fields that every completion of llama.cpp has, checked. */
export type LlamaParams = z.output<z.ZodObject<typeof llamaFields>> & { editor: boolean };

/** Answers the request of llama.vim and llama.vscode. */
export function infill(models: ModelCatalog) {
  return async function infill(c: Context): Promise<Response> {
    const params = await readBody(c, infillRequest);
    const engine = await engineFor(c, models, params.model || models.default.id);
    const before = params.input_extra.map(({ text, filename }) => ({ text, path: filename }));
    const file = { prefix: params.input_prefix + params.prompt, suffix: params.input_suffix };
    const read = readSides(file);
    const { text: prefix, uncutPrefix, cutTokens } = leftContext(read.prefix, before, engine);
    const prompt = { text: prefix, prefix, uncutPrefix, suffix: read.suffix, lineEnd: lineEndOf(file) };
    return respond(c, engine, llamaCall([prompt], params, engine), llamaFormat(params, engine, cutTokens));
  };
}

/** Throws ApiError 400 for too many choices, and for a bias of no token. */
export function llamaCall(prompts: readonly PromptText[], params: LlamaParams, { vocabulary }: Engine): CompletionCall {
  const { n_cmpl = params.n, deadline_ms } = params;
  if (prompts.length * n_cmpl > MAX_CHOICES)
    throw invalid('n_cmpl', `at most ${MAX_CHOICES} choices over all prompts.`);
  const logitBias = biasesOfPairs(params.logit_bias, vocabulary);
  return {
    prompts,
    n: n_cmpl,
    seed: params.seed === -1 ? randomSeed() : seedField.parse(params.seed),
    echo: false,
    stream: params.stream,
    diffusing: false,
    includeUsage: false,
    ...(params.editor && { editor: { minConfidence: params.min_confidence } }),
    alternativesTemperature: params.temperature || ALTERNATIVES_TEMPERATURE,
    ...(deadline_ms !== undefined && { deadlineMs: deadline_ms }),
    decoding: {
      ...samplingOf(params, prompts.length * n_cmpl, logitBias),
    },
  };
}

/** @param cutTokens tokens that were left out of the context before the engine saw it */
export function llamaFormat(params: LlamaParams, engine: Engine, cutTokens = 0): AnswerFormat {
  const settings = {
    n_ctx: engine.model.contextLength,
    n_predict: params.n_predict ?? maxTokensOf(params),
    seed: params.seed,
    temperature: params.temperature,
    top_p: params.top_p,
    stop: params.stop,
    stream: params.stream,
  };
  const idsOf = (text: string) => engine.vocabulary.encode(text);
  const answerOf = (choice: FinishedChoice, content: string) => ({
    content,
    tokens: params.return_tokens ? idsOf(content) : [],
    ...resultOf(choice, engine, cutTokens),
    generation_settings: settings,
  });
  return {
    whole(choices) {
      const answers = choices.map((choice) =>
        onlyFields(answerOf(choice, choice.completion.text), params.response_fields, { prompt: choice.prompt.text }),
      );
      return answers.length === 1 ? answers[0]! : answers;
    },
    async *items(pieces: AsyncIterable<Piece>) {
      for await (const { index, text, finished } of pieces) {
        if (text !== '') yield { content: text, index, tokens: idsOf(text), stop: false, id_slot: 0 };
        if (finished) yield answerOf(finished, '');
      }
    },
    stream: PLAIN_EVENTS,
    error: (error) => error.toBody(),
  };
}

/** llama.cpp's fields of a finished choice, without its text. */
function resultOf({ index, completion }: FinishedChoice, engine: Engine, cutTokens: number) {
  const { text, usage, ending } = completion;
  const truncatedTokens = usage.truncatedTokens + cutTokens;
  return {
    index,
    id_slot: 0,
    stop: true,
    model: engine.model.id,
    tokens_predicted: usage.completionTokens,
    tokens_evaluated: usage.promptTokens,
    has_new_line: /[\r\n]/.test(text),
    // Not among the timings, where llama.vim looks for it to warn instead of showing its figures.
    truncated: truncatedTokens > 0,
    stop_type: stopTypeOf(completion),
    stopping_word: ending?.stop ?? '',
    tokens_cached: usage.cachedTokens,
    timings: timingsOf(usage),
    quicksilver: {
      confidence: confidenceOf(completion),
      truncated_tokens: truncatedTokens,
      steps: usage.steps,
      ...(ending && { ended_by: ending.by }),
    },
  };
}

/** As llama.cpp: what its own rules for editors cut (`n_indent`, the end of a line) is a limit to it too. */
function stopTypeOf({ finishReason, ending }: Completion): 'eos' | 'word' | 'limit' {
  if (ending?.by === 'stop') return 'word';
  return (ending === undefined ? finishReason === 'stop' : ending.by === 'end') ? 'eos' : 'limit';
}

/**
 * The fields at these paths, each under its path: `timings/prompt_n`. Without paths, all fields except the `hidden`
 * ones.
 */
function onlyFields(answer: object, paths: readonly string[], hidden: object): object {
  if (paths.length === 0) return answer;
  const all: unknown = { ...answer, ...hidden };
  const found = paths.map((path): [string, unknown] => [path, path.split('/').reduce(fieldOf, all)]);
  return Object.fromEntries(found.filter(([, value]) => value !== undefined));
}

function fieldOf(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined;
  return (value as Record<string, unknown>)[name];
}
