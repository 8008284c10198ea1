/**
 * Tabby's completions, and what else its clients ask a server: https://tabby.tabbyml.com/api
 *
 * Completions share the path of OpenAI's and are told apart by `segments`. Without effect: `language` (the text shows it),
 * `clipboard`, `edit_history`, `user`.
 */
import type { Context } from 'hono';
import * as z from 'zod';
import type { ModelProvider } from '../../engine/provider.ts';
import { PLAIN_EVENTS } from '../../http/event-stream.ts';
import { engineFor, respond } from '../completion/answer.ts';
import { lineEndOf } from '../completion/line-ends.ts';
import { checkBody, DEFAULT_MAX_TOKENS, decodingFields, neutral, randomSeed, readBody } from '../completion/schema.ts';
import { confidenceOf } from '../completion/usage.ts';
import { EDITOR_MIN_CONFIDENCE } from '../editor/editor.ts';
import { withSnippets } from './snippets.ts';

const snippets = z
  .array(z.object({ filepath: z.string(), body: z.string() }))
  .nullish()
  .transform((list) => (list ?? []).map(({ filepath, body }) => ({ path: filepath, text: body })));

const segments = z.object({
  prefix: z.string({ error: 'is required' }),
  suffix: z.string().nullish(),
  filepath: z.string().nullish(),
  declarations: snippets,
  /** Both sorted by relevance, the most relevant first. */
  relevant_snippets_from_changed_files: snippets,
  relevant_snippets_from_recently_opened_files: snippets,
});

export const tabbyRequest = z.object({
  segments,
  temperature: decodingFields.temperature,
  seed: z.int().optional(),
  max_steps: decodingFields.max_steps,
  deadline_ms: decodingFields.deadline_ms,
  mode: neutral(z.literal('standard'), 'only the standard mode is supported: this model does not predict edits'),
  debug_options: neutral(
    z.record(z.string(), z.union([z.literal(false), z.null()])),
    'debug options are not supported',
  ),
});

export const tabbyEventRequest = z.object({
  type: z.string(),
  completion_id: z.string(),
  choice_index: z.int(),
});

/** Whether a body is a completion request of Tabby. */
export function isTabby(body: unknown): boolean {
  return typeof body === 'object' && body !== null && 'segments' in body && body.segments !== null;
}

/** Answers a completion request of Tabby: one choice, as the editor can show it. */
export async function tabbyCompletion(c: Context, models: ModelProvider, body: unknown): Promise<Response> {
  const { segments, temperature, seed, max_steps, deadline_ms } = checkBody(body, tabbyRequest);
  const engine = await engineFor(c, models, models.id);
  const suffix = segments.suffix ?? '';
  const prefix = withSnippets(
    segments.prefix,
    [
      ...segments.declarations,
      ...segments.relevant_snippets_from_recently_opened_files.toReversed(),
      ...segments.relevant_snippets_from_changed_files.toReversed(),
    ],
    segments.filepath ?? undefined,
  );
  const call = {
    prompts: [{ text: prefix, prefix, suffix, lineEnd: lineEndOf({ prefix: segments.prefix, suffix }) }],
    n: 1,
    seed: seed ?? randomSeed(),
    echo: false,
    stream: false,
    diffusing: false,
    includeUsage: false,
    editor: { minConfidence: EDITOR_MIN_CONFIDENCE },
    ...(deadline_ms !== undefined && { deadlineMs: deadline_ms }),
    decoding: {
      maxTokens: DEFAULT_MAX_TOKENS,
      stop: [],
      temperature,
      topP: 1,
      ...(max_steps !== undefined && { maxSteps: max_steps }),
    },
  };
  return respond(c, engine, call, {
    whole: (choices) => ({
      id: `cmpl-${crypto.randomUUID()}`,
      choices: choices.map(({ index, completion }) => ({
        index,
        text: completion.text,
        confidence: confidenceOf(completion),
      })),
    }),
    items: (pieces) => pieces,
    stream: PLAIN_EVENTS,
    error: (error) => error.toBody(),
  });
}

/** GET and POST /v1/health: what the client shows of the server, and by which it knows that completions are served. */
export function tabbyHealth(models: ModelProvider) {
  return function tabbyHealth(c: Context): Response {
    return c.json({
      model: models.id,
      chat_model: null,
      chat_device: null,
      device: 'cpu',
      arch: 'wasm',
      cpu_info: '',
      cpu_count: 1,
      cuda_devices: [],
      // Versions of Tabby's server, by which its client decides what to ask for; this is none of them.
      version: { build_date: '', build_timestamp: '', git_sha: '', git_describe: '' },
      webserver: null,
    });
  };
}

/** POST /v1/events: what became of a completion. Checked and not kept: there is no store of what people accept. */
export async function tabbyEvent(c: Context): Promise<Response> {
  await readBody(c, tabbyEventRequest);
  return c.body(null, 204);
}

/** GET /v1beta/server_setting: asks the client not to report to Tabby's makers from a service that is not theirs. */
export function tabbySetting(c: Context): Response {
  return c.json({ disable_client_side_telemetry: true });
}
