/** docs/api.md names what the schemas and the errors have, so that neither can grow without it. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type * as z from 'zod';
import { completionsRequest } from '../../src/api/dialects/completions.ts';
import { fimRequest } from '../../src/api/dialects/fim.ts';
import { infillRequest } from '../../src/api/dialects/infill.ts';
import { generateRequest } from '../../src/api/dialects/ollama.ts';
import { tabbyRequest } from '../../src/api/dialects/tabby.ts';
import { usage } from '../../src/api/openapi/answers.ts';
import { createApp } from '../../src/app.ts';
import { catalogOf, scriptedEngine } from '../support/scripted-engine.ts';

const ROOT = join(import.meta.dirname, '../..');
const page = readFileSync(join(ROOT, 'docs/api.md'), 'utf8');
const named = new Set([...page.matchAll(/`([^`\n]+)`/g)].flatMap(([, code]) => code!.split(/[\s/?:,."]+/)));

/** What only gives a request its context; the page leaves it to the dialects. */
const CONTEXT = ['model', 'prompt', 'input_prefix', 'input_suffix', 'input_extra', 'response_fields', 'options'];

/** The paths of the fields of a schema, those of objects inside it with a point between. */
function fieldsOf(schema: z.ZodObject): string[] {
  return Object.entries(schema.shape).flatMap(([name, field]) =>
    'shape' in field ? fieldsOf(field as z.ZodObject).map((inner) => `${name}.${inner}`) : [name],
  );
}

describe('docs/api.md', () => {
  it.each<[string, z.ZodObject]>([
    ['completions', completionsRequest],
    ['fim', fimRequest],
    ['infill', infillRequest],
    ['Ollama', generateRequest],
    ['Tabby', tabbyRequest],
  ])('should name every field of %s', (_, schema) => {
    const unnamed = Object.keys(schema.shape).filter((field) => !named.has(field) && !CONTEXT.includes(field));
    expect(unnamed).toEqual([]);
  });

  it('should name every field of usage', () => {
    const fields = fieldsOf(usage);
    expect(fields).toContain('quicksilver.cpu_ms');
    expect(fields.filter((field) => !page.includes(`\`${field}\``))).toEqual([]);
  });

  it('should name every route', () => {
    const { routes } = createApp(catalogOf(scriptedEngine()));
    const paths = new Set(
      routes
        .filter(({ method }) => method !== 'ALL')
        .map(({ path }) => path.replaceAll(/:(\w+)/g, (_, name: string) => name.toUpperCase())),
    );
    expect([...paths].filter((path) => !page.includes(path))).toEqual([]);
  });

  it('should name every code of an error', () => {
    const sources = readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' }).filter((file) =>
      file.endsWith('.ts'),
    );
    const codes = sources.flatMap((file) =>
      [...readFileSync(join(ROOT, 'src', file), 'utf8').matchAll(/\bcode: '([a-z_]+)'/g)].map(([, code]) => code!),
    );
    expect(codes.length).toBeGreaterThan(15);
    // `custom` is zod's name for a check of a schema.
    expect([...new Set(codes)].filter((code) => code !== 'custom' && !named.has(code))).toEqual([]);
  });
});
