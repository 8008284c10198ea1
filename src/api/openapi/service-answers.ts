/** Shapes of errors, and of the answers about the service and its models. They describe; the handlers write. */
import * as z from 'zod';
import type { ErrorBody } from '../../http/errors.ts';

export const error = z
  .object({
    error: z.object({
      message: z.string(),
      type: z.enum(['invalid_request_error', 'authentication_error', 'rate_limit_error', 'server_error']),
      param: z.string().nullable().meta({ description: 'Path of the field that is wrong.' }),
      code: z.string().nullable(),
    }),
  })
  .meta({ id: 'Error' }) satisfies z.ZodType<ErrorBody>;

export const ollamaError = z.object({ error: z.string() }).meta({ id: 'OllamaError' });

export const about = z.object({
  name: z.literal('quicksilver'),
  description: z.string(),
  model: z.string(),
  endpoints: z.array(z.string()),
});

export const health = z.object({ status: z.literal('ok') });

export const ready = z.object({ status: z.literal('ready'), model: z.string() });

export const unready = z.union([
  z.object({
    status: z.literal('unavailable'),
    reason: z.literal('misconfigured'),
    problems: z.array(z.string()).min(1),
  }),
  z.object({
    status: z.literal('unavailable'),
    reason: z.enum(['missing', 'damaged', 'failed']),
    files: z.array(z.string()).meta({ description: "Files at fault, by their path inside the model's folder." }),
    ...error.shape,
  }),
]);

const modelHead = {
  id: z.string(),
  object: z.literal('model'),
  created: z.int(),
  owned_by: z.string(),
  name: z.string(),
};

/** A model of a backend has the head alone: what it can do is known there. */
export const model = z
  .union([
    z.object(modelHead),
    z.object({
      ...modelHead,
      input_modalities: z.array(z.string()),
      output_modalities: z.array(z.string()),
      context_length: z.int(),
      max_output_length: z.int(),
      pricing: z.object({ prompt: z.string(), completion: z.string() }),
      supported_sampling_parameters: z.array(z.string()),
      supported_features: z.array(z.string()),
      quicksilver: z
        .object({
          canvas_widths: z.array(z.int().min(1)).min(1).meta({ description: 'What `canvas_width` may ask for.' }),
          reveal_threshold: z.number(),
          edit_threshold: z.number(),
        })
        .optional()
        .meta({ description: 'What holds in denoising for requests that do not say.' }),
    }),
  ])
  .meta({ id: 'Model' });

export const modelList = z.object({ object: z.literal('list'), data: z.array(model) });

export const tags = z.object({
  models: z.array(
    z.object({
      name: z.string(),
      model: z.string(),
      modified_at: z.iso.datetime(),
      size: z.int(),
      digest: z.string(),
      details: z.object({
        parent_model: z.string(),
        format: z.string(),
        family: z.string(),
        families: z.array(z.string()),
        parameter_size: z.string(),
        quantization_level: z.string(),
      }),
    }),
  ),
});

export const tabbyHealth = z.object({
  model: z.string(),
  chat_model: z.null(),
  chat_device: z.null(),
  device: z.string(),
  arch: z.string(),
  cpu_info: z.string(),
  cpu_count: z.int(),
  cuda_devices: z.array(z.string()),
  version: z.object({
    build_date: z.string(),
    build_timestamp: z.string(),
    git_sha: z.string(),
    git_describe: z.string(),
  }),
  webserver: z.null(),
});

export const tabbySetting = z.object({ disable_client_side_telemetry: z.boolean() });

/** What a backend answers is passed on as it is. */
export const passedOn = z.record(z.string(), z.unknown());
