/** GET /v1/models and /v1/models/:id: Inception's model object with the fields of OpenAI's. */
import type { Context } from 'hono';
import type { Gateway } from '../../backend/gateway.ts';
import type { ModelCatalog } from '../../engine/catalog.ts';
import type { ModelInfo } from '../../engine/types.ts';
import { keepAliveOf } from '../../http/keep-alive.ts';
import { availableModels, modelFor } from '../completion/served.ts';

/** Mistral's Python client reads no list whose models have neither of these. */
const MISTRAL_FIELDS = {
  type: 'base',
  capabilities: {
    completion_chat: false,
    completion_fim: true,
    function_calling: false,
    fine_tuning: false,
    vision: false,
  },
};

function modelObject(model: ModelInfo) {
  const { id, created, contextLength, maxOutputTokens, window, stored, diffusion } = model;
  return {
    id,
    object: 'model',
    created,
    owned_by: 'quicksilver',
    name: id,
    ...MISTRAL_FIELDS,
    max_context_length: contextLength,
    // What a client should know before it sends a file.
    ...(window && { context: { prefix_tokens: window.prefixTokens, suffix_tokens: window.suffixTokens } }),
    ...(stored && { languages: stored.languages }),
    input_modalities: ['text'],
    output_modalities: ['text'],
    context_length: contextLength,
    max_output_length: maxOutputTokens,
    pricing: { prompt: '0', completion: '0' },
    supported_sampling_parameters: [
      'temperature',
      'top_p',
      'presence_penalty',
      'frequency_penalty',
      'seed',
      'stop',
      'max_tokens',
      'logprobs',
      'logit_bias',
    ],
    supported_features: ['fim', 'diffusing'],
    ...(diffusion && {
      quicksilver: {
        canvas_widths: diffusion.canvasWidths,
        reveal_threshold: diffusion.revealThreshold,
        edit_threshold: diffusion.editThreshold,
        // What it takes to run it elsewhere: GET /models/:name/:file.
        ...(stored && { size_bytes: stored.size }),
        ...(stored?.parameters !== undefined && { parameters: stored.parameters }),
      },
    }),
  };
}

/** A model of a backend; what it can do is known there. */
function backendModelObject({ id, backend }: Gateway['models'][number]) {
  return { id, object: 'model', created: 0, owned_by: backend, name: id, type: 'base', capabilities: {} };
}

/**
 * Lists the local models, the default first, and those of backends. A local model whose files are missing is left out,
 * so that clients do not select it; 503 while all of them are missing.
 */
export function listModels(models: ModelCatalog, gateway: Pick<Gateway, 'models'>) {
  return async function listModels(c: Context): Promise<Response> {
    const local = await availableModels(c, models);
    return c.json({ object: 'list', data: [...local.map(modelObject), ...gateway.models.map(backendModelObject)] });
  };
}

export function getModel(models: ModelCatalog, gateway: Gateway) {
  return async function getModel(c: Context): Promise<Response> {
    const id = c.req.param('id') ?? '';
    const remote = gateway.models.find((model) => model.id === id);
    if (remote !== undefined && models.find(id) === undefined) return c.json(backendModelObject(remote));
    return c.json(modelObject(await modelFor(models, id).info(keepAliveOf(c))));
  };
}
