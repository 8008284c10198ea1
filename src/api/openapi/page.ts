/** GET /docs: the description as a page. It loads nothing and runs no scripts. */
import { html, raw } from 'hono/html';
import type { Description } from './document.ts';

/** What is read of a JSON schema here. */
interface Schema {
  $ref?: string;
  type?: string | string[];
  const?: unknown;
  enum?: unknown[];
  anyOf?: Schema[];
  items?: Schema;
  properties?: Record<string, Schema>;
  required?: string[];
  default?: unknown;
  description?: string;
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: number;
}

/** Beyond these a bound is that of whole numbers themselves. */
const isBound = (bound: number | undefined): bound is number =>
  bound !== undefined && Math.abs(bound) < Number.MAX_SAFE_INTEGER;

const STYLE = `
  :root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
  body { max-width: 60rem; margin: 0 auto; padding: 1rem; }
  section { border-top: 1px solid #8886; padding: .5rem 0; }
  h3 { margin: .5rem 0; font-size: 1.1rem; }
  code { font: .9em ui-monospace, monospace; }
  table { border-collapse: collapse; width: 100%; margin: .5rem 0; }
  td, th { text-align: left; vertical-align: top; padding: .2rem .6rem .2rem 0; border-bottom: 1px solid #8883; }
`;

/** The page, and a Content-Security-Policy that only allows its style. */
export async function page(description: Description): Promise<{ text: string; policy: string }> {
  const tags = description.tags ?? [];
  const text = await html`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${description.info.title} API</title>
<style>${raw(STYLE)}</style>
<h1>${description.info.title} API</h1>
<p>${description.info.description} For tools: <a href="/openapi.json">openapi.json</a>.</p>
${tags.map(
  ({ name }) => html`<h2>${name}</h2>
${operationsOf(description, name).map((operation) => section(description, operation))}`,
)}
</html>
`;
  const hash = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(STYLE));
  const sha256 = btoa(String.fromCharCode(...new Uint8Array(hash)));
  const policy = `default-src 'none'; style-src 'sha256-${sha256}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;
  return { text: String(text), policy };
}

function operationsOf({ paths }: Description, tag: string) {
  return Object.entries(paths ?? {}).flatMap(([path, item]) =>
    (['get', 'post'] as const).flatMap((method) => {
      const operation = item[method];
      return operation?.tags?.includes(tag) ? [{ method: method.toUpperCase(), path, operation }] : [];
    }),
  );
}

type Entry = ReturnType<typeof operationsOf>[number];

function section(description: Description, { method, path, operation }: Entry) {
  const body = operation.requestBody as { content: Record<string, { schema: Schema }> } | undefined;
  const schema = body?.content['application/json']?.schema;
  const variants = schema?.anyOf ?? (schema ? [schema] : []);
  const responses = Object.entries(operation.responses ?? {}) as [
    string,
    { description: string; content?: Record<string, { schema: Schema }> },
  ][];
  return html`<section>
<h3><code>${method} ${path}</code></h3>
<p>${operation.summary}. ${operation.description ?? ''}</p>
${variants.map((variant) => fields(description, variant))}
<table><tr><th>Status</th><th>Answer</th></tr>
${responses.map(
  ([status, { description: why, content = {} }]) => html`<tr><td>${status}</td><td>${why} ${Object.entries(content).map(
    ([type, { schema }]) => html`<code>${type}</code> ${typeOf(schema)} `,
  )}</td></tr>
`,
)}</table>
</section>
`;
}

function fields(description: Description, schema: Schema) {
  const { properties = {}, required = [] } = resolved(description, schema);
  return html`<table><tr><th>Field</th><th>Type</th><th></th></tr>
${Object.entries(properties).map(
  ([name, field]) => html`<tr><td><code>${name}</code></td><td>${typeOf(field)}</td><td>${notes(
    field,
    required.includes(name),
  )}</td></tr>
`,
)}</table>
`;
}

function notes(field: Schema, isRequired: boolean): string {
  return [
    isRequired ? 'Required.' : '',
    field.default === undefined ? '' : `Default ${JSON.stringify(field.default)}.`,
    field.description ?? '',
  ]
    .filter((note) => note !== '')
    .join(' ');
}

/** A schema in words. */
function typeOf(schema: Schema): string {
  if (schema.$ref !== undefined) return schema.$ref.split('/').at(-1)!;
  if (schema.anyOf) return schema.anyOf.map(typeOf).join(' or ');
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(' or ');
  if (schema.items) return `array of ${typeOf(schema.items)}`;
  return `${[schema.type ?? 'any'].flat().join(' or ')}${range(schema)}`;
}

function range({ minimum, maximum, exclusiveMinimum }: Schema): string {
  const bounds = [
    isBound(exclusiveMinimum) ? `> ${exclusiveMinimum}` : '',
    isBound(minimum) ? `≥ ${minimum}` : '',
    isBound(maximum) ? `≤ ${maximum}` : '',
  ].filter((bound) => bound !== '');
  return bounds.length > 0 ? ` ${bounds.join(', ')}` : '';
}

function resolved({ components }: Description, schema: Schema): Schema {
  if (schema.$ref === undefined) return schema;
  return (components?.schemas?.[schema.$ref.split('/').at(-1)!] ?? {}) as Schema;
}
