/** The service in a Web Worker, with the same interface as the one over the network. */
import type { Answerer } from '../service/answerer.ts';
import { Problem } from '../service/problem.ts';
import type { FromWorker, LoadOptions, ToWorker } from './messages.ts';
import type { Progress } from './model-source.ts';

interface Pending {
  head: (status: number) => void;
  body: ReadableStreamDefaultController<Uint8Array>;
}

export class BrowserService implements Answerer {
  readonly #worker: Worker;
  readonly #pending = new Map<number, Pending>();
  #requests = 0;

  private constructor(worker: Worker) {
    this.#worker = worker;
    worker.addEventListener('message', ({ data }: MessageEvent<FromWorker>) => this.#hear(data));
  }

  /** Rejects with Problem when the weights cannot be loaded or the model cannot run. */
  static async start(options: LoadOptions, onProgress: (progress: Progress) => void): Promise<BrowserService> {
    const worker = new Worker(new URL('./worker.ts', import.meta.url), { type: 'module' });
    const loaded = Promise.withResolvers<void>();
    worker.addEventListener('message', ({ data }: MessageEvent<FromWorker>) => {
      if (data.type === 'progress') onProgress(data);
      if (data.type === 'loaded') loaded.resolve();
      if (data.type === 'failed') loaded.reject(new Problem(data.title, data.message, ['retry', 'settings']));
    });
    worker.addEventListener('error', () =>
      loaded.reject(new Problem('The model cannot be run here', 'This browser does not run its Web Worker.')),
    );
    const service = new BrowserService(worker);
    service.#tell({ type: 'load', options });
    try {
      await loaded.promise;
    } catch (error) {
      service.stop();
      throw error;
    }
    return service;
  }

  async fetch(path: string, init: RequestInit): Promise<Response> {
    const { signal } = init;
    signal?.throwIfAborted();
    const id = this.#requests++;
    const head = Promise.withResolvers<number>();
    const abort = () => {
      this.#pending.delete(id);
      this.#tell({ type: 'abort', id });
    };
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        this.#pending.set(id, { head: head.resolve, body: controller });
      },
      cancel: abort,
    });
    signal?.addEventListener('abort', () => {
      const pending = this.#pending.get(id);
      if (pending === undefined) return;
      abort();
      pending.body.error(signal.reason);
      head.reject(signal.reason);
    });
    const text = typeof init.body === 'string' ? init.body : undefined;
    this.#tell({ type: 'request', id, path, method: init.method ?? 'GET', body: text });
    return new Response(body, { status: await head.promise });
  }

  /** Ends the worker and frees its memory. */
  stop(): void {
    this.#worker.terminate();
  }

  #tell(message: ToWorker): void {
    this.#worker.postMessage(message);
  }

  #hear(message: FromWorker): void {
    if (!('id' in message)) return;
    const pending = this.#pending.get(message.id);
    // The request was cancelled or aborted.
    if (pending === undefined) return;
    if (message.type === 'head') pending.head(message.status);
    else if (message.type === 'chunk') pending.body.enqueue(message.bytes);
    else {
      this.#pending.delete(message.id);
      pending.body.close();
    }
  }
}
