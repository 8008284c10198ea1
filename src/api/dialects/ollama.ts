/**
 * Ollama's POST /api/generate: https://github.com/ollama/ollama/blob/main/docs/api.md
 *
 * `raw` changes nothing: there is no template. Without effect, like unknown options in Ollama: `keep_alive`, and all
 * options except the limits of the length, temperature (default 0), top_p, presence_penalty, frequency_penalty, seed
 * and stop.
 */
import { type Context, Hono } from 'hono';
import * as z from 'zod';
import type { ModelCatalog } from '../../engine/catalog.ts';
import type { Engine } from '../../engine/types.ts';
import { JSON_LINES } from '../../http/event-stream.ts';
import { type AnswerFormat, respond } from '../completion/answer.ts';
import { type CompletionCall, type FinishedChoice, invalid, toCall } from '../completion/completion.ts';
import { budgetFields, lengthFields, maxTokensOf } from '../completion/limits.ts';
import { neutral, nothing, refusedFields } from '../completion/refused.ts';
import { decodingFields, looseDecodingFields, looseStopField, readBody, seedField } from '../completion/schema.ts';
import { promptText } from './fim-markers.ts';
import { ollamaEngine, ollamaModels } from './ollama-models.ts';

const NANOSECONDS_PER_MS = 1e6;

export const generateRequest = z.object({
  ...lengthFields,
  ...budgetFields,
  ...refusedFields,
  model: z.string().default(''),
  prompt: z.string().default(''),
  suffix: z.string().default(''),
  stream: z.boolean().default(true),
  /** Ollama only reads it in `options`; it limits the work, so it is accepted here too. */
  stop: looseStopField,
  options: z
    .object({
      ...lengthFields,
      ...looseDecodingFields,
      seed: seedField.optional(),
      suffix: z
        .string()
        .default('')
        .describe('Used if the request has no `suffix` next to `prompt`: LiteLLM writes it here.'),
    })
    .prefault({}),
  truncate: z.boolean().default(true).describe('false: refuse a prompt that does not fit the context.'),
  keep_alive: z
    .unknown()
    .optional()
    .describe('Without effect, except that 0 without a prompt is answered with `unload`.'),
  system: neutral(nothing, 'is not supported: this model completes text and takes no instructions'),
  template: neutral(nothing, 'templates are not supported'),
  context: neutral(nothing, 'is not supported: send the text in prompt'),
  think: neutral(nothing, 'thinking is not supported'),
  logprobs: neutral(nothing, 'log-probabilities are not available here; ask /v1/completions'),
  top_logprobs: neutral(nothing, 'log-probabilities are not available here; ask /v1/completions'),
  editor: decodingFields.editor,
  min_confidence: decodingFields.min_confidence,
});

type Params = z.output<typeof generateRequest>;

/** The routes under /api; src/api/errors.ts gives their errors Ollama's shape. */
export function ollama(models: ModelCatalog) {
  const routes = new Hono();
  routes.post('/generate', generate(models));
  ollamaModels(routes, models);
  return routes;
}

function generate(models: ModelCatalog) {
  return async function generate(c: Context): Promise<Response> {
    const params = await readBody(c, generateRequest);
    const engine = await ollamaEngine(c, models, params.model);
    // Ollama's way to load a model, and to unload it.
    if (params.prompt === '' && suffixOf(params) === '') {
      const reason = isZero(params.keep_alive) ? 'unload' : 'load';
      return c.json({ ...header(params), response: '', done: true, done_reason: reason });
    }
    if (!params.truncate) checkFits(params, engine);
    return respond(c, engine, callOf(params), formatOf(params, performance.now()));
  };
}

/** A number of seconds, or a duration as Go writes it. */
function isZero(duration: unknown): boolean {
  return duration === 0 || (typeof duration === 'string' && /^[+-]?(0+(\.0+)?[a-zµ]*)+$/.test(duration));
}

/** Throws ApiError 400 for text of which the model would not see all. */
function checkFits(params: Params, { model: { window }, vocabulary }: Engine): void {
  const fits = (text: string, limit: number) => vocabulary.encode(text).length <= limit;
  // One is the token that begins a document.
  if (
    window === undefined ||
    (fits(params.prompt, window.prefixTokens - 1) && fits(suffixOf(params), window.suffixTokens))
  )
    return;
  throw invalid(
    'truncate',
    `the context has ${window.prefixTokens - 1} tokens of prompt and ${window.suffixTokens} of suffix, and the text has more.`,
  );
}

function suffixOf({ suffix, options }: Params): string {
  return suffix || options.suffix;
}

function callOf(params: Params): CompletionCall {
  const { options } = params;
  const suffix = suffixOf(params);
  const fields = {
    ...params,
    ...options,
    suffix,
    stop: [...options.stop, ...params.stop],
    max_tokens: maxTokensOf(params, options),
    n: 1,
    diffusing: false as const,
  };
  return toCall([promptText(suffix)(params.prompt)], fields);
}

function formatOf(params: Params, startMs: number): AnswerFormat {
  return {
    whole: ([choice]) => ({ ...header(params), response: choice!.completion.text, ...endOf(choice!, startMs) }),
    async *items(pieces) {
      for await (const { text, finished } of pieces) {
        if (text !== '') yield { ...header(params), response: text, done: false };
        if (finished) yield { ...header(params), response: '', ...endOf(finished, startMs) };
      }
    },
    stream: JSON_LINES,
    error: ({ message }) => ({ error: message }),
  };
}

/** The model under the name that was asked for: clients compare. */
function header({ model }: Params) {
  return { model, created_at: new Date().toISOString() };
}

/**
 * The fields of the last object. Times are processor time except the total; all are 0 if the runtime hides time from
 * code.
 */
function endOf({ completion: { finishReason, usage } }: FinishedChoice, startMs: number) {
  const prefillMs = usage.prefillMs ?? 0;
  return {
    done: true,
    done_reason: finishReason,
    total_duration: nanoseconds(performance.now() - startMs),
    load_duration: 0,
    prompt_eval_count: usage.promptTokens,
    prompt_eval_duration: nanoseconds(prefillMs),
    eval_count: usage.completionTokens,
    eval_duration: nanoseconds(usage.cpuMs - prefillMs),
  };
}

function nanoseconds(ms: number): number {
  return Math.round(ms * NANOSECONDS_PER_MS);
}
