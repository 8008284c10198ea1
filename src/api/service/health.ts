/** GET /, /health and /ready: what this is, whether it runs, and whether it can answer. */
import type { Context, Next } from 'hono';
import type { Gateway } from '../../backend/gateway.ts';
import type { ModelCatalog } from '../../engine/catalog.ts';
import { type ModelProvider, ModelUnavailable } from '../../engine/provider.ts';
import { keepAliveOf } from '../../http/keep-alive.ts';
import { engineFor } from '../completion/answer.ts';
import { toApiError } from '../errors.ts';

export function about(models: ModelCatalog) {
  return function about(c: Context): Response {
    return c.json({
      name: 'quicksilver',
      description: 'An open diffusion language model service for text and code',
      model: models.default.id,
      models: models.names,
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

/**
 * Readiness: the default model is loaded, loading it if need be; otherwise 503 with the reason and the files at fault.
 * The state of each model is told beside; the others are loaded when they are asked for.
 */
export function ready(models: ModelCatalog) {
  return async function ready(c: Context): Promise<Response> {
    try {
      const { model } = await engineFor(c, models, models.default.id);
      return c.json({ status: 'ready', model: model.id, models: await statesOf(c, models) });
    } catch (error) {
      if (!(error instanceof ModelUnavailable)) throw error;
      const apiError = toApiError(error, c.get('requestId'));
      const { reason, files } = error;
      const states = await statesOf(c, models);
      const body = { status: 'unavailable', reason, files, models: states, ...apiError.toBody() };
      return c.json(body, 503, apiError.headers);
    }
  };
}

function statesOf(c: Context, { all }: ModelCatalog) {
  return Promise.all(all.map((model) => stateOf(c, model)));
}

/** Of a model that is not loaded it is looked whether its files are there. */
async function stateOf(c: Context, model: ModelProvider) {
  const { id, status } = model;
  if (status.state === 'loading' || status.state === 'loaded') return { id, state: status.state };
  const missing = await model.info(keepAliveOf(c)).then(
    () => undefined,
    (error: unknown) => error,
  );
  const error = missing ?? (status.state === 'unavailable' ? status.error : undefined);
  if (error === undefined) return { id, state: 'not_loaded' };
  if (!(error instanceof ModelUnavailable)) throw error;
  return { id, state: 'unavailable', reason: error.reason, files: error.files };
}
