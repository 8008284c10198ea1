/** Gives the dialects an engine, or the error if there is none. */

import type { KeepAlive } from '../http/keep-alive.ts';
import type { Engine, ModelInfo } from './types.ts';

/** One model by name; its engine is created on first use. */
export interface ModelProvider {
  readonly id: string;
  readonly status: ModelStatus;
  /**
   * What is known of the model. It is not loaded for that: unless it is loaded already its description is read. Rejects
   * with `ModelUnavailable`.
   */
  info(keepAlive: KeepAlive): Promise<ModelInfo>;
  /**
   * Resolves with the engine, loading it first if necessary. Rejects with `ModelUnavailable`; a later call tries again.
   */
  engine(keepAlive: KeepAlive): Promise<Engine>;
}

/** `unavailable`: the last attempt to load it failed. */
export type ModelStatus =
  | { readonly state: 'not_loaded' | 'loading' | 'loaded' }
  | { readonly state: 'unavailable'; readonly error: ModelUnavailable };

/** Why a model cannot answer: files are missing or damaged, or it could not be loaded. */
export type UnavailableReason = 'missing' | 'damaged' | 'failed';

/** The model cannot be used now. The message is fit for clients; `cause` is for the log. */
export class ModelUnavailable extends Error {
  override readonly name = 'ModelUnavailable';
  readonly reason: UnavailableReason;
  /** Files at fault, by their path inside the model's folder. */
  readonly files: readonly string[];

  constructor(model: string, reason: UnavailableReason, files: readonly string[], options: ErrorOptions) {
    const what = files.length > 0 ? `: ${reason} ${files.join(', ')}` : '';
    super(`The model '${model}' is not available${what}.`, options);
    this.reason = reason;
    this.files = files;
  }
}
