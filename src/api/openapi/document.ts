/** The OpenAPI description, generated from the schemas that validate. https://spec.openapis.org/oas/v3.1.1.html */
import { createDocument, type ZodOpenApiOperationObject, type ZodOpenApiPathsObject } from 'zod-openapi';
import { PUBLIC_PATHS } from '../../middleware/authentication.ts';
import { VERSION } from '../../version.ts';
import { API_ROUTES, type ApiRoute, TAGS } from './operations.ts';
import { errors, json } from './responses.ts';
import * as shapes from './service-answers.ts';

export interface DescriptionOptions {
  /** Whether the service has API keys, so that all but the public paths need one. */
  hasKeys: boolean;
  /** Whether it has backends, which may refuse a request with a status of their own. */
  hasBackends: boolean;
}

export type Description = ReturnType<typeof createDocument>;

/** Describes the service with its configuration. */
export function describe(options: DescriptionOptions): Description {
  const paths: ZodOpenApiPathsObject = {};
  for (const operation of API_ROUTES) {
    paths[operation.path] = { ...paths[operation.path], [operation.method]: described(operation, options) };
  }
  return createDocument({
    openapi: '3.1.1',
    info: {
      title: 'Quicksilver',
      version: VERSION,
      description:
        'A diffusion language model service for text and code. A field of a body that is null counts as absent; unknown fields have no effect.',
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: '/' }],
    tags: TAGS.map((name) => ({ name })),
    paths,
    components: {
      securitySchemes: {
        bearer: { type: 'http', scheme: 'bearer' },
        apiKey: { type: 'apiKey', in: 'header', name: 'x-api-key' },
      },
    },
  });
}

function described(
  { id, tag, summary, description, path, body, params, responses }: ApiRoute,
  { hasKeys, hasBackends }: DescriptionOptions,
): ZodOpenApiOperationObject {
  const isPublic = PUBLIC_PATHS.includes(path);
  const asksBackends = '502' in responses;
  const shape = path.startsWith('/api/') ? shapes.ollamaError : shapes.error;
  return {
    operationId: id,
    tags: [tag],
    summary,
    ...(description !== undefined && { description }),
    security: hasKeys && !isPublic ? [{ bearer: [] }, { apiKey: [] }] : [],
    ...(params && { requestParams: params }),
    ...(body && { requestBody: { required: true, content: json(body) } }),
    responses: {
      ...errors([500, 504], shape),
      ...(!isPublic && errors([...(hasKeys ? ([401, 403] as const) : ([403] as const)), 429], shape)),
      ...(body && errors([400, 403, 413, 415], shape)),
      ...(asksBackends &&
        hasBackends && {
          '4XX': { description: 'The backend refuses the request.', content: json(shapes.error) },
        }),
      ...responses,
    },
  };
}
