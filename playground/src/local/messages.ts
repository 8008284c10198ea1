/** Messages between the page and its Web Worker. */

export interface LoadOptions {
  /** Address of the service that has the files of the model. */
  baseUrl: string;
  key: string;
  model: string;
}

export type ToWorker =
  | { type: 'load'; options: LoadOptions }
  | { type: 'request'; id: number; path: string; method: string; body: string | undefined }
  | { type: 'abort'; id: number };

export type FromWorker =
  | { type: 'progress'; loadedBytes: number; totalBytes: number; fromCache: boolean }
  | { type: 'loaded' }
  | { type: 'failed'; title: string; message: string }
  | { type: 'head'; id: number; status: number }
  | { type: 'chunk'; id: number; bytes: Uint8Array<ArrayBuffer> }
  | { type: 'end'; id: number };
