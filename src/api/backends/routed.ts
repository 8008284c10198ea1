/** Completions that either the local model or a backend answers, by the name in `model`. */
import type { Context } from 'hono';
import * as z from 'zod';
import type { Call } from '../../backend/attempt.ts';
import { AUTO_MODEL, type Operation } from '../../backend/config.ts';
import type { Gateway } from '../../backend/gateway.ts';
import type { ModelProvider } from '../../engine/provider.ts';
import { looseLengthFields, maxTokensOf } from '../completion/limits.ts';
import { readBody } from '../completion/schema.ts';
import { cautious, Escalation } from './cascade.ts';
import { forwardToBackend, nameRoute, refuseIfMisconfigured, respondWithOutcome } from './forwarded.ts';

type Dialect = (models: ModelProvider) => (c: Context) => Promise<Response>;

/** Only what decides the route; whoever answers checks the request, and a dialect may do without a model. */
const schema = z.object({
  model: z.unknown().optional(),
  stream: z.unknown().optional(),
  ...looseLengthFields,
});

/**
 * Routes a dialect: its own model locally; `auto` locally, with a backend for what the local model is not sure of; any
 * other name to the backend that has it. A name that nobody has is refused by the dialect itself.
 */
export function routed(dialect: Dialect, models: ModelProvider, gateway: Gateway, operation: Operation) {
  const local = dialect(models);

  return async function routed(c: Context): Promise<Response> {
    const { model, stream, ...lengths } = await readBody(c, schema);
    if (typeof model !== 'string') return local(c);
    if (model === models.id) {
      nameRoute(c, 'local', 'model', 1);
      return local(c);
    }
    const call = { model, stream: stream === true, text: await c.req.text() };
    if (model === AUTO_MODEL) return cascade(c, call, maxTokensOf(lengths));
    refuseIfMisconfigured(gateway);
    const route = gateway.route({ operation, model, localModel: models.id });
    if (route === undefined) return local(c);
    return respondWithOutcome(c, route, await forwardToBackend(c, gateway, route, call));
  };

  /** Answers locally; what the local model leaves goes to the backend, and comes back if that fails. */
  async function cascade(c: Context, call: Call, maxTokens: number): Promise<Response> {
    const route = gateway.route({ operation, model: AUTO_MODEL, localModel: models.id });
    const model = cautious(models, { id: AUTO_MODEL, minConfidence: gateway.minConfidence, maxTokens });
    const answer = dialect(model);
    if (route === undefined) model.insist();
    try {
      nameRoute(c, 'local', 'auto', 1);
      return await answer(c);
    } catch (error) {
      if (!(error instanceof Escalation) || route === undefined) throw error;
      const outcome = await forwardToBackend(c, gateway, route, call);
      if (outcome.type === 'answered' || !error.canAnswer) {
        return respondWithOutcome(c, { ...route, reason: `escalated-${error.reason}` }, outcome);
      }
      // An answer that may be wrong is better than none.
      model.insist();
      nameRoute(c, 'local', `auto; escalation-failed=${outcome.backend}`, outcome.attempts + 1);
      return answer(c);
    }
  }
}
