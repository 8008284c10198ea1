/** What can be wrong with stored weights. The messages are for the operator; clients see `ModelUnavailable`. */

/** Files of a model are not in the store. */
export class WeightsMissing extends Error {
  override readonly name = 'WeightsMissing';
  readonly files: readonly string[];

  constructor(files: readonly string[]) {
    super(`not in the store: ${files.join(', ')}`);
    this.files = files;
  }
}

/** The content of a file does not match the manifest, or the manifest itself is invalid. */
export class WeightsDamaged extends Error {
  override readonly name = 'WeightsDamaged';
  readonly file: string;
  readonly expected: string;
  readonly actual: string;

  constructor(file: string, expected: string, actual: string) {
    super(`${file} is damaged: expected ${expected}, got ${actual}`);
    this.file = file;
    this.expected = expected;
    this.actual = actual;
  }
}

/** A store or an origin did not do what it was asked for. */
export class StoreFailed extends Error {
  override readonly name = 'StoreFailed';
  /** Undefined when there was no answer. */
  readonly status: number | undefined;
  /** The wait that it asked for. */
  readonly retryAfterSeconds: number | undefined;

  /** `what` is an operation and the name of an object: never an address, which may contain a secret. */
  constructor(what: string, found: string, { status, retryAfterSeconds, cause }: StoreFailedOptions = {}) {
    super(`${what}: ${found}`, { cause });
    this.status = status;
    this.retryAfterSeconds = retryAfterSeconds;
  }

  /** Whether the same request may succeed in a moment. */
  get isPassing(): boolean {
    return this.status === undefined || this.status === 429 || (this.status >= 500 && !LASTING.includes(this.status));
  }
}

/** Not implemented, and full. */
const LASTING: readonly number[] = [501, 507];

interface StoreFailedOptions {
  status?: number;
  retryAfterSeconds?: number | undefined;
  cause?: unknown;
}
