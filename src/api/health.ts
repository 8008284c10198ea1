/** GET /, /health and /ready: what this is, whether it runs, and whether it can answer. */
import type { Context } from 'hono';
import { type ModelProvider, ModelUnavailable } from '../engine/provider.ts';
import { engineFor } from './answer.ts';
import { toApiError } from './errors.ts';

export function about(models: ModelProvider) {
  return function about(c: Context): Response {
    return c.json({
      name: 'quicksilver',
      description: 'An open diffusion language model service for text and code',
      model: models.id,
      endpoints: ['/v1/completions', '/v1/fim/completions', '/v1/models', '/health', '/ready'],
    });
  };
}

/** Liveness: the worker runs. Needs no model. */
export function health(c: Context): Response {
  return c.json({ status: 'ok' });
}

/** Readiness: the model is loaded, loading it if need be; otherwise 503 with the reason and the files at fault. */
export function ready(models: ModelProvider) {
  return async function ready(c: Context): Promise<Response> {
    try {
      const { model } = await engineFor(c, models, models.id);
      return c.json({ status: 'ready', model: model.id });
    } catch (error) {
      if (!(error instanceof ModelUnavailable)) throw error;
      const apiError = toApiError(error, c.get('requestId'));
      const { reason, files } = error;
      return c.json({ status: 'unavailable', reason, files, ...apiError.toBody() }, 503, apiError.headers);
    }
  };
}
