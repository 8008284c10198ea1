/** The local models that one service has, each loaded by itself. */

import type { ModelProvider } from './provider.ts';

export class ModelCatalog {
  /** At least one, of different names; the first is the default. */
  readonly all: readonly ModelProvider[];

  constructor(models: readonly ModelProvider[]) {
    if (models.length === 0) throw new RangeError('a catalog has at least one model');
    this.all = models;
  }

  /** Answers requests that name no model. */
  get default(): ModelProvider {
    return this.all[0]!;
  }

  get names(): string[] {
    return this.all.map(({ id }) => id);
  }

  /** Undefined for a name that is not served. */
  find(name: string): ModelProvider | undefined {
    return this.all.find(({ id }) => id === name);
  }
}
