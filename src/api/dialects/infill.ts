/**
 * POST /infill: llama.cpp's fill in the middle, as llama.vim and llama.vscode call it.
 * https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md
 *
 * Without effect, because they steer what this model does not have: `top_k`, `min_p`, `repeat_penalty`, `samplers` and other
 * samplers, `id_slot`, `cache_prompt` (always on), `t_max_prompt_ms`. `n_indent` is what the editor rules find in the text. Unlike in
 * llama.cpp the temperature is 0 unless given, and the first of several choices is always the greedy one.
 */
import type { Context } from 'hono';
import * as z from 'zod';
import type { ModelProvider } from '../../engine/provider.ts';
import type { Completion, Engine } from '../../engine/types.ts';
import { PLAIN_EVENTS } from '../../http/event-stream.ts';
import { type AnswerFormat, engineFor, respond } from '../completion/answer.ts';
import { type CompletionCall, type FinishedChoice, penaltiesOf } from '../completion/completion.ts';
import { lineEndOf } from '../completion/line-ends.ts';
import type { Piece } from '../completion/pieces.ts';
import {
  BAN,
  biasField,
  DEFAULT_MAX_TOKENS,
  decodingFields,
  logitBiasField,
  MAX_BIASES,
  neutral,
  randomSeed,
  readBody,
} from '../completion/schema.ts';
import { timingsOf } from '../completion/timings.ts';
import { biasesOf } from '../completion/token-ids.ts';
import { confidenceOf } from '../completion/usage.ts';
import { EDITOR_MIN_CONFIDENCE } from '../editor/editor.ts';
import { withSnippets } from './snippets.ts';

/** More than an editor shows of choices; they are computed one after the other. */
const MAX_CHOICES = 8;

/** Makes the further choices differ from the greedy one without leaving what is likely. */
const ALTERNATIVES_TEMPERATURE = 0.6;

const {
  temperature,
  top_p,
  presence_penalty,
  frequency_penalty,
  stop,
  stream,
  max_steps,
  deadline_ms,
  min_confidence,
} = decodingFields;

const biasPairs = z
  .array(z.tuple([z.int().min(0), z.union([biasField, z.literal(false)])]))
  .max(MAX_BIASES)
  .transform((pairs) => Object.fromEntries(pairs.map(([id, bias]) => [String(id), bias === false ? -BAN : bias])));

export const infillRequest = z.object({
  model: z.string().default(''),
  input_prefix: z.string().default(''),
  input_suffix: z.string().default(''),
  /** Chunks of other files, the most recent last. */
  input_extra: z.array(z.object({ text: z.string(), filename: z.string().optional() })).default([]),
  /** The line of the cursor, up to it. */
  prompt: z.string({ error: 'must be a string; token ids are not accepted' }).default(''),
  /** -1: as many as the model can write; 0: read the context into the prefix cache. */
  n_predict: z.int().min(-1).default(DEFAULT_MAX_TOKENS),
  /** No limit when 0 or less, as in llama.cpp. Shared by the choices. */
  t_max_predict_ms: z.number().default(0),
  n_cmpl: z.int().min(1).max(MAX_CHOICES).default(1),
  /** -1 is any. */
  seed: z.int().default(-1),
  response_fields: z.array(z.string()).default([]),
  lora: neutral(z.array(z.unknown()).max(0), 'adapters are not supported'),
  /** Also as a list of pairs, in which false bans a token. */
  logit_bias: z.union([logitBiasField, biasPairs]),
  grammar: neutral(z.literal(''), 'grammars are not supported'),
  json_schema: neutral(z.strictObject({}), 'structured outputs are not supported'),
  n_probs: neutral(z.literal(0), 'log-probabilities have no place in these answers; ask /v1/completions'),
  ignore_eos: neutral(z.literal(false), 'is not supported; ban the end tokens with logit_bias'),
  temperature,
  top_p,
  presence_penalty,
  frequency_penalty,
  stop,
  stream,
  max_steps,
  deadline_ms,
  /** Our own: false for the text as the model wrote it. */
  editor: z.boolean().default(true),
  min_confidence,
});

type Params = z.output<typeof infillRequest>;

/** Answers the request of llama.vim and llama.vscode. */
export function infill(models: ModelProvider) {
  return async function infill(c: Context): Promise<Response> {
    const params = await readBody(c, infillRequest);
    const engine = await engineFor(c, models, params.model || models.id);
    return respond(c, engine, infillCall(params, engine), formatOf(params, engine));
  };
}

function infillCall(params: Params, { vocabulary }: Engine): CompletionCall {
  const { n_predict, n_cmpl, t_max_predict_ms, max_steps, deadline_ms } = params;
  const logitBias = biasesOf(params.logit_bias, vocabulary);
  const before = params.input_extra.map(({ text, filename }) => ({ text, path: filename }));
  const own = params.input_prefix + params.prompt;
  const prefix = withSnippets(own, before);
  const lineEnd = lineEndOf({ prefix: own, suffix: params.input_suffix });
  return {
    prompts: [{ text: prefix, prefix, suffix: params.input_suffix, lineEnd }],
    n: n_cmpl,
    seed: params.seed === -1 ? randomSeed() : params.seed,
    echo: false,
    stream: params.stream,
    diffusing: false,
    includeUsage: false,
    ...(params.editor && { editor: { minConfidence: params.min_confidence ?? EDITOR_MIN_CONFIDENCE } }),
    alternativesTemperature: params.temperature || ALTERNATIVES_TEMPERATURE,
    ...(deadline_ms !== undefined && { deadlineMs: deadline_ms }),
    decoding: {
      maxTokens: n_predict === -1 ? Number.MAX_SAFE_INTEGER : n_predict,
      stop: params.stop,
      temperature: params.temperature,
      topP: params.top_p,
      ...penaltiesOf(params),
      ...(logitBias.size > 0 && { logitBias }),
      ...(max_steps !== undefined && { maxSteps: max_steps }),
      ...(t_max_predict_ms > 0 && { maxDenoisingMs: t_max_predict_ms / n_cmpl }),
    },
  };
}

function formatOf(params: Params, engine: Engine): AnswerFormat {
  const settings = {
    n_ctx: engine.model.contextLength,
    n_predict: params.n_predict,
    seed: params.seed,
    temperature: params.temperature,
    top_p: params.top_p,
    stop: params.stop,
    stream: params.stream,
  };
  const answerOf = (choice: FinishedChoice, content: string) => ({
    content,
    ...resultOf(choice, engine),
    generation_settings: settings,
  });
  return {
    whole(choices) {
      const answers = choices.map((choice) =>
        onlyFields(answerOf(choice, choice.completion.text), params.response_fields),
      );
      return answers.length === 1 ? answers[0]! : answers;
    },
    async *items(pieces: AsyncIterable<Piece>) {
      for await (const { index, text, finished } of pieces) {
        if (text !== '') yield { content: text, index, tokens: [], stop: false, id_slot: 0 };
        if (finished) yield answerOf(finished, '');
      }
    },
    stream: PLAIN_EVENTS,
    error: (error) => error.toBody(),
  };
}

/** What llama.cpp says of a finished choice, but its text. */
function resultOf({ index, completion }: FinishedChoice, engine: Engine) {
  const { text, usage, ending } = completion;
  return {
    index,
    tokens: [],
    id_slot: 0,
    stop: true,
    model: engine.model.id,
    tokens_predicted: usage.completionTokens,
    tokens_evaluated: usage.promptTokens,
    has_new_line: /[\r\n]/.test(text),
    // The context did not run out while the text was written; what was cut of it before is said below.
    truncated: false,
    stop_type: stopTypeOf(completion),
    stopping_word: ending?.stop ?? '',
    tokens_cached: usage.cachedTokens,
    timings: timingsOf(usage),
    quicksilver: {
      confidence: confidenceOf(completion),
      truncated_tokens: usage.truncatedTokens,
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

/** The fields at these paths, each under its path: `timings/prompt_n`. All fields when none is named. */
function onlyFields(answer: object, paths: readonly string[]): object {
  if (paths.length === 0) return answer;
  const found = paths.map((path): [string, unknown] => [path, path.split('/').reduce(fieldOf, answer as unknown)]);
  return Object.fromEntries(found.filter(([, value]) => value !== undefined));
}

function fieldOf(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined;
  return (value as Record<string, unknown>)[name];
}
