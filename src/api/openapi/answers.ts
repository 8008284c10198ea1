/** Shapes of the answers to completion requests. They describe; the handlers write. */
import * as z from 'zod';
import type { Ending, SlotView } from '../../engine/types.ts';
import type { CanvasBody } from '../completion/canvas.ts';
import type { LogProbs } from '../completion/log-probs.ts';
import type { UsageBody } from '../completion/usage.ts';

const count = z.int().min(0);
const milliseconds = z.number().min(0);
const confidence = z.number().max(0).nullable().meta({
  description:
    'Mean log-probability (natural logarithm) of the tokens of the text; of an empty text, of what ended it; null when nothing was decided.',
});

export const usage = z
  .object({
    prompt_tokens: count,
    completion_tokens: count,
    total_tokens: count,
    cached_input_tokens: count,
    reasoning_tokens: count,
    prompt_tokens_details: z.object({ cached_tokens: count }),
    quicksilver: z.object({
      truncated_tokens: count.meta({
        description:
          'Tokens of prompt and suffix that did not fit the context; the text far from the cursor goes first.',
      }),
      steps: count.meta({ description: 'Denoising steps.' }),
      slot_evaluations: count.meta({ description: 'Slots of the canvas computed, summed over the steps.' }),
      cpu_ms: milliseconds.meta({ description: 'Processor time; 0 where the clock stands still.' }),
      queue_ms: milliseconds.meta({
        description: 'Waiting for the first turn, added up over all choices; 0 where the clock stands still.',
      }),
      confidence,
    }),
  })
  .meta({ id: 'Usage' }) satisfies z.ZodType<UsageBody>;

const logProbs = z
  .object({
    tokens: z.array(z.string()),
    token_logprobs: z.array(z.number()),
    top_logprobs: z.array(z.record(z.string(), z.number())),
    text_offset: z.array(count),
  })
  .meta({ id: 'LogProbs' }) satisfies z.ZodType<LogProbs>;

const finishReason = z.enum(['stop', 'length']);

const endedBy = z.enum(['end', 'stop', 'editor', 'unsure', 'max_tokens', 'budget']).optional().meta({
  description:
    'Why the text ended: the model ended it, at a stop string, where an editor would show no more, withheld as too uncertain, at the bound of tokens, of steps or time.',
}) satisfies z.ZodType<Ending['by'] | undefined>;

const stopReason = z
  .string()
  .nullable()
  .optional()
  .meta({ description: 'The stop string that ended the text, as it was sent; null when none did.' });

const header = {
  id: z.string().startsWith('cmpl-'),
  object: z.literal('text_completion'),
  created: z.int(),
  model: z.string(),
  system_fingerprint: z.string().optional().meta({ description: 'Beginning of the digest of the weights.' }),
};

const completionChoice = z.object({
  text: z.string(),
  index: count,
  logprobs: logProbs.nullable(),
  finish_reason: finishReason,
  stop_reason: stopReason,
  ended_by: endedBy,
});

const fimChoice = z.object({
  index: count,
  text: z.string(),
  message: z.object({ role: z.literal('assistant'), content: z.string() }),
  finish_reason: finishReason,
  stop_reason: stopReason,
  ended_by: endedBy,
});

const slot = z
  .object({
    state: z.enum(['mask', 'token', 'end', 'dropped']),
    change: z
      .enum(['reveal', 'edit', 'remask', 'drop'])
      .optional()
      .meta({ description: 'What this step did to the slot; absent if nothing.' }),
    text: z.string().meta({ description: 'The token; for a mask the current prediction of the denoiser.' }),
    confidence: z.number().min(0).max(1),
  })
  .meta({ id: 'Slot' }) satisfies z.ZodType<SlotView>;

/** With `diffusing: "canvas"`, in all chunks of a choice but its last. */
const canvas = z
  .object({
    step: z.int().min(1),
    block: count.meta({ description: 'Canvases of this choice that were finished before this one.' }),
    cpu_ms: milliseconds.meta({ description: 'Processor time of the choice so far; 0 where the clock stands still.' }),
    slots: z.array(slot),
  })
  .meta({ id: 'Canvas', description: 'With `diffusing: "canvas"`, in every chunk of a denoising step.' })
  .optional() satisfies z.ZodType<CanvasBody | undefined>;

/** Chunks end with one whose `choices` is empty when `include_usage` asks for the usage. */
const chunkUsage = usage.nullable().optional();

export const completion = z.object({ ...header, choices: z.array(completionChoice), usage }).meta({ id: 'Completion' });

export const completionChunk = z
  .object({
    ...header,
    choices: z.array(completionChoice.extend({ logprobs: z.null(), finish_reason: finishReason.nullable(), canvas })),
    usage: chunkUsage,
  })
  .meta({ id: 'CompletionChunk' });

export const fimCompletion = z.object({ ...header, choices: z.array(fimChoice), usage }).meta({ id: 'FimCompletion' });

export const fimCompletionChunk = z
  .object({
    ...header,
    choices: z.array(
      fimChoice
        .omit({ message: true })
        .extend({ delta: z.object({ content: z.string() }), finish_reason: finishReason.nullable(), canvas }),
    ),
    usage: chunkUsage,
  })
  .meta({ id: 'FimCompletionChunk' });

export const tabbyCompletion = z
  .object({
    id: z.string().startsWith('cmpl-'),
    choices: z.array(z.object({ index: count, text: z.string(), confidence })),
  })
  .meta({ id: 'TabbyCompletion' });

const ids = z
  .array(count)
  .meta({ description: 'Ids of the tokens of `content`: in chunks, and with `return_tokens`.' });

const infillAnswer = z
  .object({
    content: z.string(),
    index: count,
    tokens: ids,
    id_slot: z.literal(0),
    stop: z.literal(true),
    model: z.string(),
    tokens_predicted: count,
    tokens_evaluated: count,
    has_new_line: z.boolean(),
    truncated: z.boolean().meta({ description: 'Whether some of the context did not fit.' }),
    stop_type: z.enum(['eos', 'word', 'limit']),
    stopping_word: z.string(),
    tokens_cached: count,
    timings: z.object({
      cache_n: count,
      prompt_n: count,
      prompt_ms: milliseconds,
      prompt_per_token_ms: milliseconds,
      prompt_per_second: z.number().min(0),
      predicted_n: count,
      predicted_ms: milliseconds,
      predicted_per_token_ms: milliseconds,
      predicted_per_second: z.number().min(0),
    }),
    quicksilver: z.object({ confidence, truncated_tokens: count, steps: count, ended_by: endedBy }),
    generation_settings: z.object({
      n_ctx: count,
      n_predict: z.int(),
      seed: z.int(),
      temperature: z.number(),
      top_p: z.number(),
      stop: z.array(z.string()),
      stream: z.boolean(),
    }),
  })
  .meta({ id: 'Infill' });

/** `response_fields` picks fields of the answer, each under its path. */
const pickedFields = z
  .record(z.string(), z.unknown())
  .meta({ id: 'InfillFields', description: 'With response_fields: the fields at these paths, each under its path.' });

const infillChoice = z.union([infillAnswer, pickedFields]);

/** One choice is an object, several are an array. */
export const infill = z.union([infillChoice, z.array(infillChoice).min(2)]);

export const infillChunk = z
  .union([
    z.object({
      content: z.string(),
      index: count,
      tokens: ids,
      stop: z.literal(false),
      id_slot: z.literal(0),
    }),
    infillAnswer,
  ])
  .meta({ id: 'InfillChunk' });

const generated = { model: z.string(), created_at: z.iso.datetime(), response: z.string() };
const nanoseconds = count;

const generateEnd = z
  .object({
    ...generated,
    done: z.literal(true),
    done_reason: finishReason,
    total_duration: nanoseconds,
    load_duration: nanoseconds,
    prompt_eval_count: count,
    prompt_eval_duration: nanoseconds,
    eval_count: count,
    eval_duration: nanoseconds,
  })
  .meta({ id: 'Generated' });

/** An empty prompt and suffix load the model. */
export const generate = z.union([
  generateEnd,
  z.object({ ...generated, done: z.literal(true), done_reason: z.enum(['load', 'unload']) }).meta({ id: 'Loaded' }),
]);

export const generateChunk = z
  .union([generateEnd, z.object({ ...generated, done: z.literal(false) })])
  .meta({ id: 'GenerateChunk' });
