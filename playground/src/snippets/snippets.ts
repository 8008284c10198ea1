/** The request of the page as code. Keys are never part of it: they come from the environment. */
import { bodyOf, type CompletionRequest } from '../service/request.ts';

export const SNIPPETS = ['curl', 'typescript', 'python'] as const;

export type SnippetKind = (typeof SNIPPETS)[number];

/** Environment variable with the key. */
const KEY_VARIABLE = 'QUICKSILVER_API_KEY';

interface SnippetOptions {
  baseUrl: string;
  /** Whether the service requires a key. */
  hasKey: boolean;
  request: CompletionRequest;
}

/** Fields that OpenAI's clients know; the others are sent as extra fields. */
const OPENAI_FIELDS = new Set(['model', 'prompt', 'suffix', 'max_tokens', 'temperature', 'seed', 'stop']);

export function snippetOf(kind: SnippetKind, options: SnippetOptions): string {
  const body = bodyOf(options.request);
  switch (kind) {
    case 'curl':
      return curl(options, body);
    case 'typescript':
      return typescript(options, body);
    case 'python':
      return python(options, body);
  }
}

function curl({ baseUrl, hasKey }: SnippetOptions, body: object): string {
  const json = JSON.stringify(body, undefined, 2).replaceAll("'", "'\\''");
  const key = hasKey ? ` \\\n  -H "authorization: Bearer $${KEY_VARIABLE}"` : '';
  return `curl ${baseUrl}/v1/completions \\
  -H 'content-type: application/json'${key} \\
  -d '${json}'
`;
}

function typescript({ baseUrl, hasKey }: SnippetOptions, body: Record<string, unknown>): string {
  const [known, own] = split(body);
  const key = hasKey ? `process.env.${KEY_VARIABLE}!` : "'none'";
  const fields = JSON.stringify(known, undefined, 2);
  const argument =
    Object.keys(own).length === 0
      ? fields
      : `${fields.slice(0, -2)},
  // Quicksilver's own fields
  ...${indent(JSON.stringify(own, undefined, 2))},
}`;
  return `import OpenAI from 'openai';

const client = new OpenAI({ baseURL: '${baseUrl}/v1', apiKey: ${key} });
const completion = await client.completions.create(${argument});
console.log(completion.choices[0].text);
`;
}

function python({ baseUrl, hasKey }: SnippetOptions, body: Record<string, unknown>): string {
  const [known, own] = split(body);
  const key = hasKey ? `os.environ["${KEY_VARIABLE}"]` : '"none"';
  const fields = Object.entries(known).map(([name, value]) => `    ${name}=${pythonValue(value)},\n`);
  const extra = Object.keys(own).length === 0 ? '' : `    extra_body=${indent(pythonValue(own))},\n`;
  return `${hasKey ? 'import os\n\n' : ''}from openai import OpenAI

client = OpenAI(base_url="${baseUrl}/v1", api_key=${key})
completion = client.completions.create(
${fields.join('')}${extra})
print(completion.choices[0].text)
`;
}

function split(body: Record<string, unknown>): [known: Record<string, unknown>, own: Record<string, unknown>] {
  const entries = Object.entries(body);
  const isKnown = ([name]: [string, unknown]) => OPENAI_FIELDS.has(name);
  return [Object.fromEntries(entries.filter(isKnown)), Object.fromEntries(entries.filter((entry) => !isKnown(entry)))];
}

/** A JSON value as Python, which differs only in the literals true, false and null. */
function pythonValue(value: unknown): string {
  if (value === true) return 'True';
  if (value === false) return 'False';
  if (value === null) return 'None';
  if (typeof value !== 'object') return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(pythonValue).join(', ')}]`;
  const entries = Object.entries(value).map(([name, entry]) => `${JSON.stringify(name)}: ${pythonValue(entry)}`);
  return `{${entries.join(', ')}}`;
}

function indent(text: string): string {
  return text.replaceAll('\n', '\n  ');
}
