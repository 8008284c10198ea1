/**
 * Tabby's completions, and what else its clients ask a server: https://tabby.tabbyml.com/api
 *
 * Completions share the path of OpenAI's and are distinguished by `segments`. Without effect: `language` (the text
 * shows it), `clipboard`, `edit_history`, `user`.
 */
import type { Context } from 'hono';
import * as z from 'zod';
import type { ModelCatalog } from '../../engine/catalog.ts';
import { PLAIN_EVENTS } from '../../http/event-stream.ts';
import { engineFor, respond } from '../completion/answer.ts';
import { samplingOf } from '../completion/completion.ts';
import { budgetFields, lengthFields } from '../completion/limits.ts';
import { lineEndOf, readSides } from '../completion/line-ends.ts';
import { neutral, refusedFields } from '../completion/refused.ts';
import {
  checkBody,
  localModelField,
  looseDecodingFields,
  randomSeed,
  readBody,
  seedField,
} from '../completion/schema.ts';
import { confidenceOf } from '../completion/usage.ts';
import { leftContext } from './snippets.ts';

const snippets = z
  .array(z.object({ filepath: z.string().default(''), body: z.string() }))
  .default([])
  .transform((list) => list.map(({ filepath, body }) => ({ path: filepath, text: body })));

const segments = z.object({
  prefix: z.string({ error: 'is required' }),
  suffix: z.string().default(''),
  filepath: z.string().optional(),
  declarations: snippets,
  /** Both sorted by relevance, the most relevant first. */
  relevant_snippets_from_changed_files: snippets,
  relevant_snippets_from_recently_opened_files: snippets,
});

export const tabbyRequest = z.object({
  ...lengthFields,
  ...budgetFields,
  ...refusedFields,
  /** Not of Tabby, but of the path. */
  model: localModelField,
  segments,
  temperature: looseDecodingFields.temperature,
  stop: looseDecodingFields.stop,
  seed: seedField.optional(),
  n: neutral(z.literal(1), 'Tabby answers one choice'),
  stream: neutral(z.literal(false), 'Tabby answers whole'),
  mode: neutral(z.literal('standard'), 'only the standard mode is supported: this model does not predict edits'),
  debug_options: neutral(z.record(z.string(), z.literal(false)), 'debug options are not supported'),
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
export async function tabbyCompletion(c: Context, models: ModelCatalog, body: unknown): Promise<Response> {
  const params = checkBody(body, tabbyRequest);
  const { segments, seed, deadline_ms } = params;
  const engine = await engineFor(c, models, params.model || models.default.id);
  const read = readSides(segments);
  const { text: prefix, uncutPrefix } = leftContext(
    read.prefix,
    [
      ...segments.declarations,
      ...segments.relevant_snippets_from_recently_opened_files.toReversed(),
      ...segments.relevant_snippets_from_changed_files.toReversed(),
    ],
    engine,
    segments.filepath,
  );
  const call = {
    prompts: [{ text: prefix, prefix, uncutPrefix, suffix: read.suffix, lineEnd: lineEndOf(segments) }],
    n: 1,
    seed: seed ?? randomSeed(),
    echo: false,
    stream: false,
    diffusing: false,
    includeUsage: false,
    editor: {},
    ...(deadline_ms !== undefined && { deadlineMs: deadline_ms }),
    decoding: samplingOf({ ...params, top_p: 1 }, 1),
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
export function tabbyHealth(models: ModelCatalog) {
  return function tabbyHealth(c: Context): Response {
    return c.json({
      model: models.default.id,
      chat_model: null,
      chat_device: null,
      device: 'cpu',
      arch: 'wasm',
      cpu_info: '',
      cpu_count: 1,
      cuda_devices: [],
      // Versions of Tabby's server, which its client uses to choose its requests; this server is none of them.
      version: { build_date: '', build_timestamp: '', git_sha: '', git_describe: '' },
      webserver: null,
    });
  };
}

/**
 * POST /v1/events: whether the user accepted a completion. Checked but not stored: there is no store for such events.
 */
export async function tabbyEvent(c: Context): Promise<Response> {
  await readBody(c, tabbyEventRequest);
  return c.body(null, 204);
}

/** GET /v1beta/server_setting: asks the client not to report to Tabby's makers from a service that is not theirs. */
export function tabbySetting(c: Context): Response {
  return c.json({ disable_client_side_telemetry: true });
}
