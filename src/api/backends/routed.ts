/** Completions that either the local model or a backend answers, by the name in `model`. */
import type { Context } from 'hono';
import * as z from 'zod';
import type { Call } from '../../backend/attempt.ts';
import { AUTO_MODEL, type Operation } from '../../backend/config.ts';
import type { Gateway } from '../../backend/gateway.ts';
import type { Route } from '../../backend/routing.ts';
import { ModelCatalog } from '../../engine/catalog.ts';
import { ApiError } from '../../http/errors.ts';
import { editorInAddress, readBody } from '../completion/schema.ts';
import { cautious, Escalation } from './cascade.ts';
import {
  CompletionFields,
  EDITOR_FIELDS,
  ENGINE_FIELDS,
  LOCAL_FIELDS,
  type PromptReader,
  plainPrompts,
} from './completion-fields.ts';
import { forwardToBackend, nameRoute, refuseIfMisconfigured, respondWithOutcome } from './forwarding.ts';
import { withHeadStart } from './head-start.ts';
import { withKnownBound, withKnownSeed } from './known-names.ts';
import { translationOf } from './translation.ts';

type Dialect = (models: ModelCatalog) => (c: Context) => Promise<Response>;

/** Fields that are not sent to a backend: if a request names its model, and if the local model escalates. */
const WITHHELD = EDITOR_FIELDS.union(ENGINE_FIELDS);
const WITHHELD_BY_AUTO = WITHHELD.union(LOCAL_FIELDS);

/**
 * Routes a dialect: names of local models to these; `auto` to the default one, with a backend for low confidence; any
 * other name to the backend that has it. An unknown name is refused by the dialect itself.
 * @param readPrompts finds the text around the cursor where the dialect has it in its prompts
 */
export function routed(
  dialect: Dialect,
  models: ModelCatalog,
  gateway: Gateway,
  operation: Operation,
  readPrompts: PromptReader = plainPrompts,
) {
  const local = dialect(models);

  return async function routed(c: Context): Promise<Response> {
    const body = await readBody(c, z.record(z.string(), z.unknown()));
    const { model, segments } = body;
    // Tabby's requests have no model to route by.
    if (typeof model !== 'string' || model === '' || segments !== undefined) return local(c);
    if (models.find(model) !== undefined) {
      nameRoute(c, { backend: 'local', route: 'model', attempts: 1 });
      return local(c);
    }
    const fields = new CompletionFields(body, readPrompts, editorInAddress(c));
    const bounded = withKnownBound(await c.req.text(), body);
    const text = operation === 'fim' ? withKnownSeed(bounded, body) : bounded;
    const call = { model, stream: body.stream === true, text };
    if (model === AUTO_MODEL) return cascade(c, call, fields);
    refuseIfMisconfigured(gateway);
    const route = gateway.route({ operation, model, localModels: models.names });
    if (route === undefined) return local(c);
    const able = ableOf(route, fields);
    if (able === undefined) throw cannotInfill(route);
    return answerByBackend(c, able, { ...call, ...translated(fields, false), withheld: WITHHELD }, fields);
  };

  /** What a backend answers in the dialect of the request. */
  function translated({ editor }: CompletionFields, replaces: boolean): Pick<Call, 'translation'> {
    const translation = translationOf({ mistral: operation === 'fim', editor, replaces });
    return translation ? { translation } : {};
  }

  function answerByBackend(c: Context, route: Route, call: Call, { cursor }: CompletionFields): Promise<Response> {
    return withHeadStart(c, route, call, async (gone) =>
      respondWithOutcome(c, route, await forwardToBackend(c, gateway, route, call, { gone, cursor })),
    );
  }

  /** Answers locally. If the local model escalates, the backend answers; if that fails, the local answer is used. */
  async function cascade(c: Context, call: Call, fields: CompletionFields): Promise<Response> {
    const found = gateway.route({ operation, model: AUTO_MODEL, localModels: models.names });
    const able = found && ableOf(found, fields);
    // Without a bound the dialect has one that any model can write.
    const maxTokens = fields.maxTokens ?? 0;
    const model = cautious(models.default, { id: AUTO_MODEL, minConfidence: gateway.minConfidence, maxTokens });
    const answer = dialect(new ModelCatalog([model]));
    if (able === undefined) model.insist();
    try {
      nameRoute(c, { backend: 'local', route: 'auto', attempts: 1 });
      return await answer(c);
    } catch (error) {
      if (!(error instanceof Escalation) || able === undefined) throw error;
      const route: Route = { ...able, reason: `escalated-${error.reason}` };
      return withHeadStart(c, route, call, (gone) => escalated(c, route, call, error, gone));
    }

    async function escalated(c: Context, route: Route, call: Call, reason: Escalation, gone: AbortSignal) {
      const sent = { ...call, ...translated(fields, fields.replaces), withheld: WITHHELD_BY_AUTO };
      const options = { gone, hasStandIn: reason.canAnswer, cursor: fields.cursor };
      const outcome = await forwardToBackend(c, gateway, route, sent, options);
      if (outcome.type === 'answered' || !reason.canAnswer) return respondWithOutcome(c, route, outcome);
      // An answer of low confidence is better than no answer.
      model.insist();
      const failed = `auto; escalation-failed=${outcome.backend}`;
      nameRoute(c, { backend: 'local', route: failed, attempts: outcome.attempts + 1 });
      return answer(c);
    }
  }
}

/** The route over the backends that support the request; undefined if none does. */
function ableOf(route: Route, { hasSuffix }: CompletionFields): Route | undefined {
  const chain = route.chain.filter(({ backend }) => backend.infill || !hasSuffix);
  return chain.length > 0 ? { ...route, chain } : undefined;
}

function cannotInfill({ chain }: Route): ApiError {
  return new ApiError(
    400,
    `suffix: the backend '${chain[0]!.backend.name}' does not fill in the middle; leave the suffix out, or ask for '${AUTO_MODEL}'.`,
    { param: 'suffix', code: 'unsupported_parameter' },
  );
}
