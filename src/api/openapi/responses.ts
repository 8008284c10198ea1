/** Answers by status as OpenAPI has them: whole, as a stream, or an error. */

import * as z from 'zod';
import type { ZodOpenApiMediaTypeObject, ZodOpenApiResponsesObject } from 'zod-openapi';
import * as shapes from './service-answers.ts';

export type Content = Record<string, ZodOpenApiMediaTypeObject>;

export function json(schema: z.ZodType): Content {
  return { 'application/json': { schema } };
}

/**
 * Server-sent events. Until OpenAPI 3.2 the schema of this media type is that of one event; `data` has a chunk as JSON.
 * @param done whether the last event is `[DONE]`, which is not JSON
 */
export function events(chunk: z.ZodType, { done }: { done: boolean }): Content {
  const data = asJson(z.union([chunk, shapes.error]), 'A stream that fails has the error as its last event.');
  const end = z.literal('[DONE]').meta({ description: 'The last event.' });
  return { 'text/event-stream': { schema: z.looseObject({ data: done ? z.union([data, end]) : data }) } };
}

/** JSON objects, each on a line of its own. */
export function lines(chunk: z.ZodType): Content {
  const line = asJson(z.union([chunk, shapes.ollamaError]), 'One of these as JSON on each line.');
  return { 'application/x-ndjson': { schema: line } };
}

/** Text that contains the value as JSON; zod has no type for that. */
function asJson(value: z.ZodType, description: string): z.ZodType {
  return z.object({ value }).meta({
    override: ({ jsonSchema }) => {
      const contentSchema = jsonSchema.properties!.value!;
      for (const key of Object.keys(jsonSchema)) delete jsonSchema[key as keyof typeof jsonSchema];
      Object.assign(jsonSchema, { type: 'string', description, contentMediaType: 'application/json', contentSchema });
    },
  });
}

const WHY = {
  400: 'What the request asks for is wrong; `param` names the field.',
  401: 'No API key, or one that this service does not have.',
  403: 'The key opens /metrics alone; or the service has no API keys, so it answers its own machine only; or the origin of a web page is not allowed.',
  404: 'The model, or what is asked for, does not exist.',
  413: 'The body is too large.',
  415: 'The body is not sent as JSON, or in an encoding that is not read.',
  429: 'Too many requests; `retry-after` says when to ask again.',
  499: 'With the editor rules: a newer request of the same client continues this one, and has replaced it.',
  500: 'The service failed; quote the request id when reporting it.',
  502: 'The backend could not be reached, or its answer cannot be used.',
  503: 'Too many requests are waiting (`engine_busy`), or the model or a backend is not available; ask again later.',
  504: 'The request took too long.',
} as const;

export type ErrorStatus = keyof typeof WHY;

/** The statuses with the shape of their error, and why they are sent. */
export function errors(statuses: readonly ErrorStatus[], shape: z.ZodType = shapes.error): ZodOpenApiResponsesObject {
  return Object.fromEntries(
    statuses.map((status) => [String(status), { description: WHY[status], content: json(shape) }]),
  );
}
