/**
 * Ollama's POST /api/generate and GET /api/tags: https://github.com/ollama/ollama/blob/main/docs/api.md
 *
 * `raw` changes nothing: there is no template. Without effect, as unknown options are in Ollama: `keep_alive`, and of the
 * options all but num_predict, temperature (0 unless given), top_p, presence_penalty,
 * frequency_penalty, seed and stop.
 */
import { type Context, Hono } from 'hono';
import * as z from 'zod';
import type { ModelProvider } from '../../engine/provider.ts';
import type { Engine } from '../../engine/types.ts';
import { JSON_LINES } from '../../http/event-stream.ts';
import { type AnswerFormat, engineFor, respond } from '../completion/answer.ts';
import { type CompletionCall, type FinishedChoice, toCall } from '../completion/completion.ts';
import { DEFAULT_MAX_TOKENS, decodingFields, neutral, readBody } from '../completion/schema.ts';
import { promptText } from './fim-markers.ts';

/** Tag that Ollama adds to a model name without one. */
const LATEST = ':latest';

const NANOSECONDS_PER_MS = 1e6;

const { temperature, top_p, presence_penalty, frequency_penalty, stop } = decodingFields;

const empty = z.union([z.literal(''), z.array(z.unknown()).max(0)]);

export const generateRequest = z.object({
  model: z.string({ error: 'is required: the name of a model, see /api/tags' }),
  prompt: z.string().default(''),
  suffix: z.string().default(''),
  stream: z.boolean().default(true),
  options: z
    .object({
      /** -1 and -2 (as many as fit) in Ollama. */
      num_predict: z.int().min(-2).default(DEFAULT_MAX_TOKENS),
      temperature,
      top_p,
      presence_penalty,
      frequency_penalty,
      seed: z.int().optional(),
      stop,
    })
    .prefault({}),
  system: neutral(empty, 'is not supported: this model completes text and takes no instructions'),
  template: neutral(empty, 'templates are not supported'),
  images: neutral(empty, 'images are not supported'),
  context: neutral(empty, 'is not supported: send the text in prompt'),
  format: neutral(empty, 'structured outputs are not supported'),
  think: neutral(z.literal(false), 'thinking is not supported'),
  logprobs: neutral(z.literal(false), 'log-probabilities are not available here; ask /v1/completions'),
  top_logprobs: neutral(z.literal(0), 'log-probabilities are not available here; ask /v1/completions'),
  max_steps: decodingFields.max_steps,
  deadline_ms: decodingFields.deadline_ms,
  editor: decodingFields.editor,
  min_confidence: decodingFields.min_confidence,
});

type Params = z.output<typeof generateRequest>;

/** The routes under /api; src/api/errors.ts gives their errors Ollama's shape. */
export function ollama(models: ModelProvider) {
  const routes = new Hono();
  routes.post('/generate', generate(models));
  routes.get('/tags', tags(models));
  return routes;
}

function generate(models: ModelProvider) {
  return async function generate(c: Context): Promise<Response> {
    const params = await readBody(c, generateRequest);
    const name = params.model === models.id + LATEST ? models.id : params.model;
    const engine = await engineFor(c, models, name);
    // Ollama's way to load a model.
    if (params.prompt === '' && params.suffix === '') {
      return c.json({ ...header(params), response: '', done: true, done_reason: 'load' });
    }
    return respond(c, engine, callOf(params), formatOf(params, performance.now()));
  };
}

function callOf({ prompt, options, ...params }: Params): CompletionCall {
  const { num_predict, ...decoding } = options;
  const fields = { ...params, ...decoding, max_tokens: num_predict, n: 1, diffusing: false };
  const call = toCall([promptText(params.suffix)(prompt)], fields);
  if (num_predict >= 0) return call;
  return { ...call, decoding: { ...call.decoding, maxTokens: Number.MAX_SAFE_INTEGER } };
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

/** What the last object says. Times are processor time but the total; all are 0 where the runtime hides time from code. */
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

function tags(models: ModelProvider) {
  return async function tags(c: Context): Promise<Response> {
    const { model } = await engineFor(c, models, models.id);
    return c.json({ models: [tagOf(model)] });
  };
}

/** Sizes and digests are those of Ollama's own files, which a model here does not have. */
function tagOf({ id, created }: Engine['model']) {
  return {
    name: id + LATEST,
    model: id + LATEST,
    modified_at: new Date(created * 1000).toISOString(),
    size: 0,
    digest: '',
    details: {
      parent_model: '',
      format: 'safetensors',
      family: 'quicksilver',
      families: ['quicksilver'],
      parameter_size: '',
      quantization_level: '',
    },
  };
}
