/** GET /, /health and /ready: what this is, whether it runs, and whether it can answer. */
import type { Context, Next } from 'hono';
import type { Gateway } from '../../backend/gateway.ts';
import { type ModelProvider, ModelUnavailable } from '../../engine/provider.ts';
import { engineFor } from '../completion/answer.ts';
import { toApiError } from '../errors.ts';

export function about(models: ModelProvider) {
  return function about(c: Context): Response {
    return c.json({
      name: 'quicksilver',
      description: 'An open diffusion language model service for text and code',
      model: models.id,
      endpoints: [
        '/v1/completions',
        '/v1/fim/completions',
        '/v1/chat/completions',
        '/v1/edit/completions',
        '/v1/apply/completions',
        '/beta/completions',
        '/infill',
        '/completion',
        '/api/generate',
        '/v1/models',
        '/health',
        '/ready',
        '/openapi.json',
        '/docs',
      ],
    });
  };
}

/** Liveness: the worker runs. Needs no model. */
export function health(c: Context): Response {
  return c.json({ status: 'ok' });
}

/** The part of readiness that depends on configuration: 503 with all its errors, before the model is loaded. */
export function configured({ problems }: Gateway) {
  return async function configured(c: Context, next: Next): Promise<Response | undefined> {
    if (problems.length > 0) return c.json({ status: 'unavailable', reason: 'misconfigured', problems }, 503);
    await next();
  };
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
