/** GET /v1/models and /v1/models/:id: Inception's model object with the fields of OpenAI's. */
import type { Context } from 'hono';
import type { ModelProvider } from '../engine/provider.ts';
import type { ModelInfo } from '../engine/types.ts';
import { engineFor } from './answer.ts';

function modelObject(model: ModelInfo) {
  return {
    id: model.id,
    object: 'model',
    created: model.created,
    owned_by: 'quicksilver',
    name: model.id,
    input_modalities: ['text'],
    output_modalities: ['text'],
    context_length: model.contextLength,
    max_output_length: model.maxOutputTokens,
    pricing: { prompt: '0', completion: '0' },
    supported_sampling_parameters: ['temperature', 'top_p', 'seed', 'stop', 'max_tokens'],
    supported_features: ['fim', 'diffusing'],
  };
}

/** Lists the one model; 503 while it cannot answer, so that no client picks a model that is not there. */
export function listModels(models: ModelProvider) {
  return async function listModels(c: Context): Promise<Response> {
    const { model } = await engineFor(c, models, models.id);
    return c.json({ object: 'list', data: [modelObject(model)] });
  };
}

export function getModel(models: ModelProvider) {
  return async function getModel(c: Context): Promise<Response> {
    const { model } = await engineFor(c, models, c.req.param('id') ?? '');
    return c.json(modelObject(model));
  };
}
