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
  model: z.string().meta({ description: 'The default.' }),
  models: z.array(z.string()).min(1),
  endpoints: z.array(z.string()),
});

export const health = z.object({ status: z.literal('ok') });

const unavailableBecause = {
  reason: z.enum(['missing', 'damaged', 'failed']),
  files: z.array(z.string()).meta({ description: "Files at fault, by their path inside the model's folder." }),
};

const modelStates = z.array(
  z.union([
    z.object({ id: z.string(), state: z.enum(['not_loaded', 'loading', 'loaded']) }),
    z.object({ id: z.string(), state: z.literal('unavailable'), ...unavailableBecause }),
  ]),
);

export const ready = z.object({
  status: z.literal('ready'),
  model: z.string().meta({ description: 'The default.' }),
  models: modelStates,
});

export const unready = z.union([
  z.object({
    status: z.literal('unavailable'),
    reason: z.literal('misconfigured'),
    problems: z.array(z.string()).min(1),
  }),
  z.object({
    status: z.literal('unavailable'),
    ...unavailableBecause,
    models: modelStates,
    ...error.shape,
  }),
]);

const modelHead = {
  id: z.string(),
  object: z.literal('model'),
  created: z.int(),
  owned_by: z.string(),
  name: z.string(),
  type: z.literal('base'),
  capabilities: z.record(z.string(), z.boolean()),
};

/** A model of a backend only has the common fields: only the backend knows its capabilities. */
export const model = z
  .union([
    z.object(modelHead),
    z.object({
      ...modelHead,
      max_context_length: z.int(),
      context: z
        .object({ prefix_tokens: z.int(), suffix_tokens: z.int() })
        .optional()
        .meta({ description: 'Tokens on each side of the cursor that the model sees.' }),
      languages: z.array(z.string()).optional().meta({ description: 'Languages of the training data.' }),
      input_modalities: z.array(z.string()),
      output_modalities: z.array(z.string()),
      context_length: z.int(),
      max_output_length: z.int(),
      pricing: z.object({ prompt: z.string(), completion: z.string() }),
      supported_sampling_parameters: z.array(z.string()),
      supported_features: z.array(z.string()),
      quicksilver: z
        .object({
          canvas_widths: z.array(z.int().min(1)).min(1).meta({ description: 'Allowed values of `canvas_width`.' }),
          reveal_threshold: z.number(),
          edit_threshold: z.number(),
          size_bytes: z.int().optional().meta({ description: 'All files of the model.' }),
          parameters: z.int().optional(),
        })
        .optional()
        .meta({ description: 'Defaults of the denoising settings.' }),
    }),
  ])
  .meta({ id: 'Model' });

export const modelList = z.object({ object: z.literal('list'), data: z.array(model) });

const ollamaDetails = z.object({
  parent_model: z.string(),
  format: z.string(),
  family: z.string(),
  families: z.array(z.string()),
  parameter_size: z.string(),
  quantization_level: z.string(),
});

const ollamaModel = {
  name: z.string(),
  model: z.string(),
  size: z.int(),
  digest: z.string(),
  details: ollamaDetails,
};

export const tags = z.object({ models: z.array(z.object({ ...ollamaModel, modified_at: z.iso.datetime() })) });

export const running = z.object({
  models: z.array(
    z.object({ ...ollamaModel, expires_at: z.iso.datetime(), size_vram: z.int(), context_length: z.int() }),
  ),
});

export const shown = z.object({
  modelfile: z.string(),
  parameters: z.string(),
  template: z.string(),
  details: ollamaDetails,
  model_info: z.record(z.string(), z.unknown()),
  capabilities: z.array(z.string()),
  modified_at: z.iso.datetime(),
});

export const ollamaVersion = z.object({ version: z.string() });

export const tokenized = z.object({
  tokens: z.union([
    z.array(z.int()),
    z.array(
      z.object({
        id: z.int(),
        piece: z
          .union([z.string(), z.array(z.int())])
          .meta({ description: 'Bytes that are not whole characters are numbers.' }),
      }),
    ),
  ]),
});

export const detokenized = z.object({ content: z.string() });

export const llamaProps = z.object({
  default_generation_settings: z.object({
    id: z.int(),
    n_ctx: z.int(),
    is_processing: z.boolean(),
    params: z.record(z.string(), z.number()),
  }),
  total_slots: z.int(),
  model_alias: z.string(),
  model_path: z.string(),
  modalities: z.object({ vision: z.boolean(), audio: z.boolean() }),
  chat_template: z.string(),
  bos_token: z.string(),
  eos_token: z.string(),
  build_info: z.string(),
  is_sleeping: z.boolean(),
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

/** The answer of a backend is passed on unchanged. */
export const passedOn = z.record(z.string(), z.unknown());
