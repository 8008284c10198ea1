/**
 * What backends answer: POST /v1/chat/completions, /v1/edit/completions and /v1/apply/completions, which need a model
 * larger than the local one.
 */
import type { Context } from 'hono';
import * as z from 'zod';
import type { Call } from '../../backend/attempt.ts';
import { AUTO_MODEL, type Operation } from '../../backend/config.ts';
import type { Gateway } from '../../backend/gateway.ts';
import { ApiError } from '../../http/errors.ts';
import { decodingFields, readBody } from '../completion/schema.ts';
import { forwardToBackend, refuseIfMisconfigured, respondWithOutcome } from './forwarding.ts';
import { withHeadStart } from './head-start.ts';

/** No model has a longer name; it is echoed in messages. */
const MAX_MODEL_CHARS = 256;

/** The fields that routing reads; all others are only for the engine that answers. */
export const forwardedRequest = z.object({
  model: decodingFields.model.max(MAX_MODEL_CHARS),
  stream: z.unknown().optional(),
});

/** Answers an operation that only backends offer. */
export function forwarded(gateway: Gateway, localModels: readonly string[], operation: Operation) {
  return async function forwarded(c: Context): Promise<Response> {
    const call = await readCall(c);
    refuseIfMisconfigured(gateway);
    const route = gateway.route({ operation, model: call.model, localModels });
    if (route === undefined) throw backendRequired(operation, call.model, localModels);
    return withHeadStart(c, route, call, async (gone) =>
      respondWithOutcome(c, route, await forwardToBackend(c, gateway, route, call, { gone })),
    );
  };
}

/**
 * Reads what routing has to know of a request; the body can be read again.
 * @throws ApiError 400 for what is no JSON object or names no model, 415 for another media type.
 */
async function readCall(c: Context): Promise<Call> {
  const { model, stream } = await readBody(c, forwardedRequest);
  return { model, stream: stream === true, text: await c.req.text() };
}

/** Not 501: clients retry what is 5xx, and no retry makes this model chat. */
function backendRequired(operation: Operation, model: string, localModels: readonly string[]): ApiError {
  const isKnown = localModels.includes(model) || model === AUTO_MODEL;
  return new ApiError(
    isKnown ? 400 : 404,
    `The local model does not do ${operation}, and no backend is configured that does it for the model '${model}'. ` +
      'Name one in the variable BACKENDS, with the model among its models or as the default; see docs/backends.md.',
    { param: 'model', code: isKnown ? 'backend_required' : 'model_not_found' },
  );
}
