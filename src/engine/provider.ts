/** Gives the dialects an engine, or the error if there is none. */

import type { KeepAlive } from '../http/keep-alive.ts';
import type { Engine } from './types.ts';

/** One model by name; its engine is created on first use. */
export interface ModelProvider {
  readonly id: string;
  /**
   * Resolves with the engine, loading it first if necessary. Rejects with `ModelUnavailable`; a later call tries again.
   */
  engine(keepAlive: KeepAlive): Promise<Engine>;
}

/** Why a model cannot answer: what of it is missing, what is damaged, or that it could not be loaded. */
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
