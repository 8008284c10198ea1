/**
 * What Ollama's clients ask of a server and its models before they complete, and what this model cannot do:
 * https://github.com/ollama/ollama/blob/main/docs/api.md
 */
import type { Context, Hono } from 'hono';
import * as z from 'zod';
import type { ModelCatalog } from '../../engine/catalog.ts';
import type { ModelProvider } from '../../engine/provider.ts';
import type { Engine, ModelInfo } from '../../engine/types.ts';
import { ApiError } from '../../http/errors.ts';
import { keepAliveOf } from '../../http/keep-alive.ts';
import { engineFor } from '../completion/answer.ts';
import { readBody } from '../completion/schema.ts';
import { availableModels, modelFor } from '../completion/served.ts';

/** The version of Ollama whose API this is: clients ask for a least one. */
const OLLAMA_VERSION = '0.13.0';

/** Tag that Ollama adds to a model name without one. */
const LATEST = ':latest';

/** Ollama's value for a model that is kept loaded. */
const NEVER = '2318-01-01T00:00:00Z';

const FAMILY = 'quicksilver';

/**
 * Clients look for `.Suffix` in it to learn that a model fills in the middle. The template is never applied: prompts
 * are used unchanged.
 */
const TEMPLATE =
  '{{- if .Suffix }}<|fim_prefix|>{{ .Prompt }}<|fim_suffix|>{{ .Suffix }}<|fim_middle|>{{ else }}{{ .Prompt }}{{ end }}';

export const showRequest = z.object({
  model: z.string().default(''),
  /** Its older name. */
  name: z.string().default(''),
  verbose: z.unknown().optional(),
});

/** What the requests that this model cannot answer have in common. */
export const unsupportedRequest = z.object({ model: z.string().default('') });

/**
 * The engine of a model by its name in Ollama, with or without a tag.
 * @throws ApiError 404 for any other name and for a missing one, as Ollama does
 */
export function ollamaEngine(c: Context, models: ModelCatalog, name: string): Promise<Engine> {
  return engineFor(c, models, withoutTag(models, name));
}

/** As `ollamaEngine`, for what needs no engine. */
function ollamaModel(models: ModelCatalog, name: string): ModelProvider {
  return modelFor(models, withoutTag(models, name));
}

function withoutTag({ names }: ModelCatalog, name: string): string {
  return names.find((served) => served + LATEST === name) ?? name;
}

export function ollamaModels(routes: Hono, models: ModelCatalog): void {
  routes.get('/version', (c) => c.json({ version: OLLAMA_VERSION }));
  routes.get('/tags', async (c) => {
    const available = await availableModels(c, models);
    return c.json({ models: available.map((model) => ({ ...headOf(model), modified_at: modifiedAt(model) })) });
  });
  routes.get('/ps', async (c) => {
    const loaded = models.all.filter(({ status }) => status.state === 'loaded');
    const infos = await Promise.all(loaded.map((model) => model.info(keepAliveOf(c))));
    const running = infos.map((model) => ({
      ...headOf(model),
      expires_at: NEVER,
      size_vram: 0,
      context_length: model.contextLength,
    }));
    return c.json({ models: running });
  });
  routes.post('/show', async (c) => {
    const { model, name } = await readBody(c, showRequest);
    return c.json(showOf(await ollamaModel(models, model || name).info(keepAliveOf(c))));
  });
  routes.post('/chat', refuse(models, 'chat'));
  routes.post('/embed', refuse(models, 'embeddings'));
  routes.post('/embeddings', refuse(models, 'embeddings'));
}

/** 404 for a name that is not served, 400 for one that is: clients take either for final. */
function refuse(models: ModelCatalog, what: string) {
  return async function refuse(c: Context): Promise<Response> {
    const { model } = await readBody(c, unsupportedRequest);
    ollamaModel(models, model);
    throw new ApiError(400, `"${model}" does not support ${what}`, { param: 'model', code: 'unsupported_by_model' });
  };
}

/** The fields of a model in lists. */
function headOf(model: ModelInfo) {
  const { id, stored } = model;
  return {
    name: id + LATEST,
    model: id + LATEST,
    size: stored?.size ?? 0,
    digest: stored?.digest ?? '',
    details: detailsOf(model),
  };
}

function detailsOf({ stored }: ModelInfo) {
  return {
    parent_model: '',
    format: 'safetensors',
    family: FAMILY,
    families: [FAMILY],
    parameter_size: stored?.parameters === undefined ? '' : readable(stored.parameters),
    quantization_level: stored?.bits === undefined ? '' : `int${stored.bits}`,
  };
}

function showOf(model: ModelInfo) {
  const { id, stored, window } = model;
  return {
    modelfile: `FROM ${id}\nTEMPLATE """${TEMPLATE}"""\n`,
    parameters: '',
    template: TEMPLATE,
    details: detailsOf(model),
    model_info: {
      'general.architecture': FAMILY,
      'general.basename': id,
      ...(stored?.parameters !== undefined && { 'general.parameter_count': stored.parameters }),
      ...(stored && stored.languages.length > 0 && { 'general.languages': stored.languages }),
      [`${FAMILY}.context_length`]: model.contextLength,
      ...(window && {
        [`${FAMILY}.prefix_tokens`]: window.prefixTokens,
        [`${FAMILY}.suffix_tokens`]: window.suffixTokens,
      }),
    },
    capabilities: ['completion', 'insert'],
    modified_at: modifiedAt(model),
  };
}

function modifiedAt({ created }: ModelInfo): string {
  return new Date(created * 1000).toISOString();
}

/** 5.5M, 1.5B, as Ollama writes them. */
function readable(count: number): string {
  const [unit, name] = count >= 1e9 ? [1e9, 'B'] : count >= 1e6 ? [1e6, 'M'] : ([1e3, 'K'] as const);
  const value = count / unit;
  return `${value >= 100 ? value.toFixed(0) : value.toFixed(1).replace(/\.0$/, '')}${name}`;
}
