import { Validator } from '@seriousme/openapi-schema-validator';
import { describe, expect, it } from 'vitest';
import manifest from '../../../package.json' with { type: 'json' };
import { createApp, type OperatorOptions } from '../../../src/app.ts';
import { gatewayOf } from '../../../src/backend/gateway.ts';
import { keysOf } from '../../middleware/support.ts';
import { catalogOf, scriptedEngine } from '../../support/scripted-engine.ts';

interface Schema {
  type?: string;
  const?: unknown;
  enum?: unknown[];
  $ref?: string;
  anyOf?: Schema[];
  properties?: Record<string, Schema & Record<string, unknown>>;
  required?: string[];
}

interface Described {
  operationId: string;
  security: object[];
  requestBody?: { content: Record<string, { schema: Schema }> };
  responses: Record<string, { content?: Record<string, { schema: Schema }> }>;
}

interface Document {
  openapi: string;
  info: { version: string };
  paths: Record<string, Record<string, Described>>;
  components: { schemas: Record<string, Schema> };
}

const appWith = (operations: OperatorOptions = {}) => createApp(catalogOf(scriptedEngine()), gatewayOf([]), operations);

async function documentOf(app = appWith()): Promise<Document> {
  return (await (await app.request('/openapi.json')).json()) as Document;
}

describe('the description', () => {
  it('should be valid OpenAPI 3.1', async () => {
    const document = await documentOf();
    expect(document.openapi).toMatch(/^3\.1\./);
    const validator = new Validator();
    const { valid, errors } = await validator.validate(document as unknown as Record<string, unknown>);
    expect(errors).toBeUndefined();
    expect(valid).toBe(true);
    // Throws for a reference to nothing.
    validator.resolveRefs();
  });

  it('should have every route of the service, and no other', async () => {
    const app = appWith();
    const registered = app.routes
      .filter(({ method }) => method !== 'ALL')
      .map(({ method, path }) => `${method} ${path.replaceAll(/:(\w+)/g, '{$1}')}`);
    const described = Object.entries((await documentOf(app)).paths).flatMap(([path, item]) =>
      Object.keys(item).map((method) => `${method.toUpperCase()} ${path}`),
    );
    expect(described.toSorted()).toEqual([...new Set(registered)].toSorted());
  });

  it('should name each operation once and have the version of the package', async () => {
    const { paths, info } = await documentOf();
    const ids = Object.values(paths).flatMap((item) => Object.values(item).map(({ operationId }) => operationId));
    expect(new Set(ids).size).toBe(ids.length);
    expect(info.version).toBe(manifest.version);
  });

  it('should be made of the schemas that validate', async () => {
    const { paths } = await documentOf();
    const body = paths['/v1/fim/completions']!.post!.requestBody!.content['application/json']!.schema;
    expect(body.required).toEqual(['prompt']);
    expect(body.properties).toMatchObject({
      temperature: { type: 'number', minimum: 0, maximum: 2, default: 0 },
      min_tokens: { const: 0 },
      top_k: { enum: [-1, 0] },
      logit_bias: { type: 'object', maxProperties: 300, additionalProperties: { minimum: -100, maximum: 100 } },
    });
  });

  it('should describe streams and whole answers, and errors by their status', async () => {
    const { paths, components } = await documentOf();
    const { responses } = paths['/v1/completions']!.post!;
    expect(Object.keys(responses['200']!.content!)).toEqual(['application/json', 'text/event-stream']);
    for (const status of ['400', '403', '404', '413', '415', '429', '500', '503', '504']) {
      expect(responses[status]!.content!['application/json']!.schema.$ref).toBe('#/components/schemas/Error');
    }
    expect(components.schemas.CompletionChunk!.required).toContain('choices');
    expect(paths['/v1/chat/completions']!.post!.responses).toHaveProperty('404');
  });

  it('should ask for a key where the service does, and only there', async () => {
    const { keys } = await keysOf('laptop');
    const secured = await documentOf(appWith({ keys }));
    expect(secured.paths['/v1/models']!.get!.security).toEqual([{ bearer: [] }, { apiKey: [] }]);
    expect(secured.paths['/v1/models']!.get!.responses).toHaveProperty('401');
    expect(secured.paths['/health']!.get!.security).toEqual([]);
    expect((await documentOf()).paths['/v1/models']!.get!.security).toEqual([]);
  });
});

describe('the page', () => {
  it('should describe every route and every field', async () => {
    const { paths } = await documentOf();
    const page = await (await appWith().request('/docs')).text();
    for (const [path, item] of Object.entries(paths)) {
      for (const [method, { requestBody }] of Object.entries(item)) {
        expect(page).toContain(`<code>${method.toUpperCase()} ${path}</code>`);
        const schema = requestBody?.content['application/json']?.schema;
        const names = Object.keys(schema?.properties ?? schema?.anyOf?.[0]?.properties ?? {});
        for (const name of names) expect(page).toContain(`<code>${name}</code>`);
      }
    }
    expect(page).not.toContain('[object Object]');
    expect(page).not.toContain('undefined');
  });

  it('should load nothing and run nothing', async () => {
    const response = await appWith().request('/docs');
    expect(response.headers.get('content-type')).toBe('text/html; charset=utf-8');
    const page = await response.text();
    const style = /<style>(.*?)<\/style>/s.exec(page)![1]!;
    const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(style)));
    const policy = response.headers.get('content-security-policy');
    expect(policy).toContain("default-src 'none'");
    expect(policy).toContain(`style-src 'sha256-${btoa(String.fromCharCode(...hash))}'`);
    expect(page).not.toMatch(/<script|<link|<img|style=|https?:\/\//);
  });
});
