/** The routes and middleware of the service, in one table. */
import { Hono } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { methodNotAllowed } from 'hono/method-not-allowed';
import { type RequestIdVariables, requestId } from 'hono/request-id';
import { completions } from './api/completions.ts';
import { ApiError, errorResponse, onError } from './api/errors.ts';
import { fim } from './api/fim.ts';
import { about, health, ready } from './api/health.ts';
import { getModel, listModels } from './api/models.ts';
import type { ModelProvider } from './engine/provider.ts';

/** Larger than any source file that an editor sends; bounds the time that one request can spend in the tokenizer. */
export const MAX_BODY_BYTES = 256 * 1024;

/** Builds the service around the models it may answer with. */
export function createApp(models: ModelProvider) {
  const app = new Hono<{ Variables: RequestIdVariables }>();

  app.use(requestId());
  app.use(
    methodNotAllowed({
      app,
      onMethodNotAllowed: (c, methods) =>
        errorResponse(
          c,
          new ApiError(405, `${c.req.path} does not answer ${c.req.method}.`, {
            code: 'method_not_allowed',
            headers: { allow: methods.join(', ') },
          }),
        ),
    }),
  );
  app.use(
    bodyLimit({
      maxSize: MAX_BODY_BYTES,
      onError: () => {
        throw new ApiError(413, `The body is larger than ${MAX_BODY_BYTES} bytes.`, { code: 'request_too_large' });
      },
    }),
  );

  app.get('/', about(models));
  app.get('/health', health);
  app.get('/ready', ready(models));
  app.get('/v1/models', listModels(models));
  app.get('/v1/models/:id', getModel(models));
  app.post('/v1/completions', completions(models));
  app.post('/v1/fim/completions', fim(models));

  app.notFound((c) =>
    errorResponse(c, new ApiError(404, `There is no ${c.req.method} ${c.req.path}.`, { code: 'route_not_found' })),
  );
  app.onError(onError);
  return app;
}
