/** Refusals in the form of the Hugging Face Hub: its client reads the code in a header and raises the error for it. */

/** For the header `X-Error-Code`; none if clients decide by the status. */
export type HubErrorCode = 'RepoNotFound' | 'RevisionNotFound' | 'EntryNotFound' | 'GatedRepo';

export class MirrorError extends Error {
  override readonly name = 'MirrorError';
  readonly status: number;
  readonly code: HubErrorCode | undefined;
  /** The commit in which something was not found; the client remembers that it is not there. */
  readonly commit: string | undefined;
  /** When a retry may succeed. */
  readonly retryAfterSeconds: number | undefined;

  /** The message is for the client. */
  constructor(status: number, message: string, { code, commit, retryAfterSeconds, cause }: MirrorErrorOptions = {}) {
    super(message, { cause });
    this.status = status;
    this.code = code;
    this.commit = commit;
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

interface MirrorErrorOptions {
  code?: HubErrorCode | undefined;
  commit?: string | undefined;
  retryAfterSeconds?: number | undefined;
  cause?: unknown;
}

/** The store cannot be written to; what it has can still be read. */
export class StoreUnwritable extends Error {
  override readonly name = 'StoreUnwritable';

  constructor(cause: unknown) {
    super(`the store cannot be written to: ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
}

/** @throws StoreUnwritable for any error of `write`. */
export async function writing<Result>(write: Promise<Result>): Promise<Result> {
  try {
    return await write;
  } catch (error) {
    throw new StoreUnwritable(error);
  }
}

export function repoNotFound(repo: string): MirrorError {
  return new MirrorError(404, `There is no repository ${repo} here.`, { code: 'RepoNotFound' });
}
