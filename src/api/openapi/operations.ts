/** Every route of src/app.ts, described. A test compares the two lists. */
import * as z from 'zod';
import type { ZodOpenApiResponsesObject } from 'zod-openapi';
import { CONTENT_TYPE } from '../../metrics/registry.ts';
import { forwardedRequest } from '../backends/forwarded.ts';
import { completionsRequest } from '../dialects/completions.ts';
import { fimRequest } from '../dialects/fim.ts';
import { infillRequest } from '../dialects/infill.ts';
import { completionRequest, detokenizeRequest, tokenizeRequest } from '../dialects/llama-server.ts';
import { generateRequest } from '../dialects/ollama.ts';
import { showRequest, unsupportedRequest } from '../dialects/ollama-models.ts';
import { tabbyEventRequest, tabbyRequest } from '../dialects/tabby.ts';
import * as answers from './answers.ts';
import { type Content, type ErrorStatus, errors, events, json, lines } from './responses.ts';
import * as shapes from './service-answers.ts';

/** Sections of the description, in their order. */
export const TAGS = ['Completions', 'Editors', 'Backends', 'Models', 'Service'] as const;

export interface ApiRoute {
  method: 'get' | 'post';
  /** With parameters in braces. */
  path: string;
  id: string;
  tag: (typeof TAGS)[number];
  summary: string;
  description?: string;
  body?: z.ZodType;
  params?: { path?: z.ZodObject; query?: z.ZodObject };
  responses: ZodOpenApiResponsesObject;
}

const ok = (...content: Content[]): ZodOpenApiResponsesObject => ({
  '200': { description: 'The answer.', content: Object.assign({}, ...content) as Content },
});

/** In addition to those of every operation: see document.ts. */
const LOCAL_MODEL: readonly ErrorStatus[] = [404, 503];
/** Where the editor rules can be asked for. */
const EDITOR: readonly ErrorStatus[] = [499];
const BACKEND: readonly ErrorStatus[] = [429, 502, 503, 504];

const editorQuery = z.object({
  editor: z
    .enum(['true', 'false'])
    .optional()
    .meta({ description: 'Same as `editor` in the body, for clients that can only set the address.' }),
});

const openAiCompletion = {
  method: 'post',
  tag: 'Completions',
  body: z.union([completionsRequest, tabbyRequest]),
  params: { query: editorQuery },
  responses: {
    ...ok(
      json(z.union([answers.completion, answers.tabbyCompletion])),
      events(answers.completionChunk, { done: true }),
    ),
    ...errors([...LOCAL_MODEL, ...EDITOR, ...BACKEND]),
  },
} as const;

const forwarded = {
  method: 'post',
  tag: 'Backends',
  description:
    'The local model does not support this. The request goes to a backend unchanged; see the documentation of the backend for its fields.',
  body: forwardedRequest.meta({ description: 'And any other fields of the backend.' }),
  responses: {
    ...ok(json(shapes.passedOn), { 'text/event-stream': { schema: { description: 'The events of the backend.' } } }),
    ...errors([404, ...BACKEND]),
  },
} as const;

const llamaCompletion = {
  method: 'post',
  tag: 'Editors',
  body: completionRequest,
  params: { query: editorQuery },
  responses: {
    ...ok(json(answers.infill), events(answers.infillChunk, { done: false })),
    ...errors([...LOCAL_MODEL, ...EDITOR]),
  },
} as const;

/** What this model cannot do, so that clients know it in advance. */
const ollamaRefusal = {
  method: 'post',
  tag: 'Editors',
  body: unsupportedRequest,
  responses: errors([400, 404], shapes.ollamaError),
} as const;

const listModels = {
  method: 'get',
  tag: 'Models',
  responses: { ...ok(json(shapes.modelList)), ...errors([503]) },
} as const;

const tabbyHealth = {
  path: '/v1/health',
  tag: 'Editors',
  summary: 'Server information that Tabby shows',
  responses: ok(json(shapes.tabbyHealth)),
} as const;

export const API_ROUTES: readonly ApiRoute[] = [
  {
    ...openAiCompletion,
    path: '/v1/completions',
    id: 'createCompletion',
    summary: 'Complete a prompt, or fill in between it and a suffix (OpenAI); with `segments` in the format of Tabby',
    description:
      'With `stream: true` the answer is an event stream; with `diffusing: true` as well, the text of each chunk replaces that of the previous chunk; `diffusing: "canvas"` adds the canvas to it.',
  },
  {
    ...openAiCompletion,
    path: '/beta/completions',
    id: 'createBetaCompletion',
    summary: "The same under the path of DeepSeek's FIM",
  },
  {
    method: 'post',
    path: '/v1/fim/completions',
    id: 'createFimCompletion',
    tag: 'Completions',
    summary: 'Fill in between a prompt and a suffix (Inception, Mistral)',
    body: fimRequest,
    params: { query: editorQuery },
    responses: {
      ...ok(json(answers.fimCompletion), events(answers.fimCompletionChunk, { done: true })),
      ...errors([...LOCAL_MODEL, ...EDITOR, ...BACKEND]),
    },
  },
  {
    method: 'post',
    path: '/infill',
    id: 'infill',
    tag: 'Editors',
    summary: 'Fill in at the cursor (llama.cpp: llama.vim, llama.vscode)',
    body: infillRequest,
    responses: {
      ...ok(json(answers.infill), events(answers.infillChunk, { done: false })),
      ...errors([...LOCAL_MODEL, ...EDITOR]),
    },
  },
  {
    method: 'post',
    path: '/api/generate',
    id: 'ollamaGenerate',
    tag: 'Editors',
    summary: 'Complete a prompt (Ollama)',
    body: generateRequest,
    responses: {
      ...ok(json(answers.generate), lines(answers.generateChunk)),
      ...errors(LOCAL_MODEL, shapes.ollamaError),
    },
  },
  {
    method: 'get',
    path: '/api/tags',
    id: 'ollamaTags',
    tag: 'Editors',
    summary: 'The models (Ollama)',
    responses: { ...ok(json(shapes.tags)), ...errors([503], shapes.ollamaError) },
  },
  {
    method: 'get',
    path: '/api/ps',
    id: 'ollamaRunning',
    tag: 'Editors',
    summary: 'The loaded models (Ollama)',
    responses: ok(json(shapes.running)),
  },
  {
    method: 'post',
    path: '/api/show',
    id: 'ollamaShow',
    tag: 'Editors',
    summary: 'One model (Ollama)',
    body: showRequest,
    responses: { ...ok(json(shapes.shown)), ...errors(LOCAL_MODEL, shapes.ollamaError) },
  },
  {
    method: 'get',
    path: '/api/version',
    id: 'ollamaVersion',
    tag: 'Editors',
    summary: 'The version of Ollama whose API is implemented',
    responses: ok(json(shapes.ollamaVersion)),
  },
  { ...ollamaRefusal, path: '/api/chat', id: 'ollamaChat', summary: 'Refused: the model completes text' },
  { ...ollamaRefusal, path: '/api/embed', id: 'ollamaEmbed', summary: 'Refused: the model completes text' },
  { ...ollamaRefusal, path: '/api/embeddings', id: 'ollamaEmbeddings', summary: 'Refused: the model completes text' },
  { ...llamaCompletion, path: '/completion', id: 'llamaCompletion', summary: 'Complete a prompt (llama.cpp)' },
  { ...llamaCompletion, path: '/completions', id: 'llamaCompletions', summary: 'The same under its other name' },
  {
    method: 'post',
    path: '/tokenize',
    id: 'tokenize',
    tag: 'Editors',
    summary: 'Token ids of a text (llama.cpp)',
    body: tokenizeRequest,
    responses: { ...ok(json(shapes.tokenized)), ...errors(LOCAL_MODEL) },
  },
  {
    method: 'post',
    path: '/detokenize',
    id: 'detokenize',
    tag: 'Editors',
    summary: 'Text of token ids (llama.cpp)',
    body: detokenizeRequest,
    responses: { ...ok(json(shapes.detokenized)), ...errors(LOCAL_MODEL) },
  },
  {
    method: 'get',
    path: '/props',
    id: 'llamaProps',
    tag: 'Editors',
    summary: 'The defaults of requests (llama.cpp)',
    responses: { ...ok(json(shapes.llamaProps)), ...errors([503]) },
  },
  {
    method: 'get',
    path: '/slots',
    id: 'llamaSlots',
    tag: 'Editors',
    summary: 'Refused: there are no slots (llama.cpp)',
    responses: errors([404]),
  },
  { ...tabbyHealth, method: 'get', id: 'tabbyHealth' },
  { ...tabbyHealth, method: 'post', id: 'tabbyHealthByPost' },
  {
    method: 'post',
    path: '/v1/events',
    id: 'tabbyEvent',
    tag: 'Editors',
    summary: 'Report whether a completion was accepted (Tabby); checked, not stored',
    body: tabbyEventRequest,
    responses: { '204': { description: 'Accepted.' } },
  },
  {
    method: 'get',
    path: '/v1beta/server_setting',
    id: 'tabbySetting',
    tag: 'Editors',
    summary: "Settings for Tabby's clients",
    responses: ok(json(shapes.tabbySetting)),
  },
  { ...forwarded, path: '/v1/chat/completions', id: 'createChatCompletion', summary: 'Chat' },
  { ...forwarded, path: '/v1/edit/completions', id: 'createEditCompletion', summary: 'Rewrite a region (Inception)' },
  { ...forwarded, path: '/v1/apply/completions', id: 'createApplyCompletion', summary: 'Apply an edit (Inception)' },
  { ...listModels, path: '/v1/models', id: 'listModels', summary: 'The local models, and those of backends' },
  { ...listModels, path: '/models', id: 'listModelsOfBase', summary: 'The same, for clients whose base has no /v1' },
  {
    method: 'get',
    path: '/v1/models/{id}',
    id: 'getModel',
    tag: 'Models',
    summary: 'One model',
    params: { path: z.object({ id: z.string().min(1) }) },
    responses: { ...ok(json(shapes.model)), ...errors(LOCAL_MODEL) },
  },
  {
    method: 'get',
    path: '/models/{name}/{file}',
    id: 'getModelFile',
    tag: 'Models',
    summary: 'A file of a model, to run it elsewhere',
    description: '`manifest.json` lists the other files with their sizes and SHA-256; clients verify them.',
    params: { path: z.object({ name: z.string().min(1), file: z.string().min(1) }) },
    responses: {
      ...ok(json(z.record(z.string(), z.unknown())), {
        'application/octet-stream': { schema: { type: 'string', format: 'binary' } },
      }),
      ...errors(LOCAL_MODEL),
    },
  },
  {
    method: 'get',
    path: '/',
    id: 'about',
    tag: 'Service',
    summary: 'The service in short; for clients that ask for HTML the playground, if it is built',
    responses: ok(json(shapes.about), { 'text/html; charset=utf-8': { schema: z.string() } }),
  },
  {
    method: 'get',
    path: '/health',
    id: 'health',
    tag: 'Service',
    summary: 'Liveness: the worker runs',
    responses: ok(json(shapes.health)),
  },
  {
    method: 'get',
    path: '/ready',
    id: 'ready',
    tag: 'Service',
    summary: 'Readiness: the default model is loaded',
    responses: {
      ...ok(json(shapes.ready)),
      '503': {
        description: 'The missing or damaged files, or the errors of the configuration.',
        content: json(shapes.unready),
      },
    },
  },
  {
    method: 'get',
    path: '/metrics',
    id: 'metrics',
    tag: 'Service',
    summary: 'Counters and histograms for Prometheus',
    responses: ok({ [CONTENT_TYPE]: { schema: z.string() } }),
  },
  {
    method: 'get',
    path: '/openapi.json',
    id: 'describe',
    tag: 'Service',
    summary: 'This description',
    responses: ok(json(z.record(z.string(), z.unknown()))),
  },
  {
    method: 'get',
    path: '/docs',
    id: 'docs',
    tag: 'Service',
    summary: 'This description as a page',
    responses: ok({ 'text/html; charset=utf-8': { schema: z.string() } }),
  },
];
