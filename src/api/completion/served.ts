/** The local models by their names, and what lists say of them; none is loaded here. */
import type { Context } from 'hono';
import type { ModelCatalog } from '../../engine/catalog.ts';
import { type ModelProvider, ModelUnavailable } from '../../engine/provider.ts';
import type { ModelInfo } from '../../engine/types.ts';
import { ApiError } from '../../http/errors.ts';
import { keepAliveOf } from '../../http/keep-alive.ts';

/** @throws ApiError 404 for a name that is not served; `param` is where the name stood. */
export function modelFor(models: ModelCatalog, name: string, param = 'model'): ModelProvider {
  const found = models.find(name);
  if (found !== undefined) return found;
  const served = models.names.map((served) => `'${served}'`).join(', ');
  throw new ApiError(404, `The model '${name}' does not exist; this service has ${served}.`, {
    param,
    code: 'model_not_found',
  });
}

/**
 * The models that are there, the default first: a missing or damaged one does not affect the others. Throws
 * ModelUnavailable when there is none.
 */
export async function availableModels(c: Context, models: ModelCatalog): Promise<ModelInfo[]> {
  const asked = await Promise.allSettled(models.all.map((model) => model.info(keepAliveOf(c))));
  const failures = asked.filter((answer) => answer.status === 'rejected').map(({ reason }) => reason as unknown);
  const unexpected = failures.find((reason) => !(reason instanceof ModelUnavailable));
  if (unexpected !== undefined) throw unexpected;
  if (failures.length === asked.length) throw failures[0];
  return asked.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value] : []));
}
