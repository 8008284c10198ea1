/** Refusals as the Hugging Face Hub words them: its client reads the code in a header and raises by it. */

/** Of the header `X-Error-Code`; none where the client decides by the status alone. */
export type HubErrorCode = 'RepoNotFound' | 'RevisionNotFound' | 'EntryNotFound' | 'GatedRepo';

export class MirrorError extends Error {
  override readonly name = 'MirrorError';
  readonly status: number;
  readonly code: HubErrorCode | undefined;
  /** The commit in which something was not found; the client remembers that it is not there. */
  readonly commit: string | undefined;

  /** The message is for the client. */
  constructor(status: number, message: string, { code, commit, cause }: MirrorErrorOptions = {}) {
    super(message, { cause });
    this.status = status;
    this.code = code;
    this.commit = commit;
  }
}

interface MirrorErrorOptions {
  code?: HubErrorCode | undefined;
  commit?: string;
  cause?: unknown;
}

export function repoNotFound(repo: string): MirrorError {
  return new MirrorError(404, `There is no repository ${repo} here.`, { code: 'RepoNotFound' });
}
