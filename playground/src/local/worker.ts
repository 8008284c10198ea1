/**
 * The Web Worker: the routes of the service that the page uses, with the same denoiser, kernels and weights, on the
 * user's machine. Requests and responses are those of the API, so that the page works the same with both.
 */
import './immediate.ts';
import { requestId } from 'hono/request-id';
// Its router is smaller, and fast enough for two routes.
import { Hono } from 'hono/tiny';
import relaxedUrl from '../../../build/kernels.relaxed.wasm?url';
import simdUrl from '../../../build/kernels.simd.wasm?url';
import { completions } from '../../../src/api/dialects/completions.ts';
import { onError } from '../../../src/api/errors.ts';
import { listModels } from '../../../src/api/service/models.ts';
import { ModelCatalog } from '../../../src/engine/catalog.ts';
import { createThreeStreamEngine, describeThreeStream } from '../../../src/engine/create-three-stream.ts';
import { ModelUnavailable } from '../../../src/engine/provider.ts';
import type { KernelModules } from '../../../src/engine/types.ts';
import { modelLoader } from '../../../src/weights/model-loader.ts';
import { type ErrorBody, Problem, problemOf, unreachable } from '../service/problem.ts';
import type { FromWorker, LoadOptions, ToWorker } from './messages.ts';
import { FileRefused, httpSource } from './model-source.ts';

const running = new Map<number, AbortController>();
let app: ReturnType<typeof serviceOf> | undefined;

self.addEventListener('message', ({ data }: MessageEvent<ToWorker>) => {
  if (data.type === 'load') void load(data.options);
  else if (data.type === 'request') void answer(data);
  else running.get(data.id)?.abort(new DOMException('The page has no use for it.', 'AbortError'));
});

function tell(message: FromWorker, transfer: Transferable[] = []): void {
  self.postMessage(message, { transfer });
}

async function load(options: LoadOptions): Promise<void> {
  try {
    const source = await httpSource(options, (progress) => tell({ type: 'progress', ...progress }));
    const model = modelLoader({
      model: options.model,
      source,
      kernels: await kernels(),
      // The bundled models are of this kind; the other would make the page larger.
      createEngine: createThreeStreamEngine,
      describeModel: describeThreeStream,
    });
    await model.engine(() => {});
    app = serviceOf(new ModelCatalog([model]));
    tell({ type: 'loaded' });
  } catch (error) {
    const { title, message } = loadProblem(error, options);
    tell({ type: 'failed', title, message });
  }
}

function serviceOf(models: ModelCatalog) {
  const service = new Hono();
  service.use(requestId());
  service.post('/v1/completions', completions(models));
  service.get('/v1/models', listModels(models, { models: [] }));
  service.onError(onError);
  return service;
}

/** A browser without relaxed SIMD cannot compile that build, and needs only the other one. */
async function kernels(): Promise<KernelModules> {
  const compile = (url: string) => WebAssembly.compileStreaming(fetch(url));
  const simd = await compile(simdUrl);
  return { simd, relaxed: await compile(relaxedUrl).catch(() => simd) };
}

function loadProblem(error: unknown, { baseUrl, model }: LoadOptions): Problem {
  if (error instanceof FileRefused) return problemOf(error.status, error.body as ErrorBody);
  if (error instanceof ModelUnavailable && error.cause instanceof FileRefused)
    return loadProblem(error.cause, { baseUrl, model, key: '' });
  if (error instanceof ModelUnavailable) return new Problem('The weights cannot be used', error.message);
  if (error instanceof TypeError) return unreachable(baseUrl);
  return new Problem('The model cannot be run here', error instanceof Error ? error.message : String(error));
}

async function answer({ id, path, method, body }: Extract<ToWorker, { type: 'request' }>): Promise<void> {
  const controller = new AbortController();
  running.set(id, controller);
  try {
    if (app === undefined) throw new Error('asked before the model was loaded');
    const request = new Request(new URL(path, self.location.href), {
      method,
      signal: controller.signal,
      ...(body !== undefined && { body, headers: { 'content-type': 'application/json' } }),
    });
    const response = await app.fetch(request);
    tell({ type: 'head', id, status: response.status });
    const reader = response.body?.getReader();
    for (;;) {
      const { done, value } = (await reader?.read()) ?? { done: true };
      if (done || value === undefined) break;
      const bytes = new Uint8Array(value);
      tell({ type: 'chunk', id, bytes }, [bytes.buffer]);
    }
  } catch (error) {
    // What the page has given up fails with its reason, which nobody waits for.
    if (!controller.signal.aborted) throw error;
  } finally {
    running.delete(id);
    tell({ type: 'end', id });
  }
}
