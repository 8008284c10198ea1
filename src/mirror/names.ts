/**
 * Names that clients may send. Everything that becomes part of an address or of a name in the store is checked here:
 * repositories and revisions by their grammar, blobs by their hash. Paths of files are never used that way; they are
 * looked up in the listing of their commit.
 */
import { MirrorError, repoNotFound } from './errors.ts';

/** One half of `owner/name`: the Hub's rules for both (huggingface_hub, utils/_validators.py). */
const REPO_PART = /^(?!.*(?:--|\.\.))[a-z0-9_](?:[\w.-]{0,94}[a-z0-9_])?$/i;

/** Names that the Hub does not allow for a repository, because its address would be ambiguous. */
const REPO_SUFFIX = /\.(git|ipynb)$/i;

/** A branch, a tag, `refs/pr/1` or a commit: what git allows of that and every file store too. */
const REVISION = /^(?!.*\.\.)[a-z0-9][\w.-]{0,99}(?:\/[\w][\w.-]{0,99}){0,3}$/i;

const COMMIT = /^[0-9a-f]{40}$/;

/** SHA-1 of a git blob, or SHA-256 of a file in LFS. */
const OID = /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/;

export const isCommit = (text: string) => COMMIT.test(text);
export const isOid = (text: string) => OID.test(text);

/** @throws MirrorError 404 */
export function checkRepo(repo: string): string {
  const parts = repo.split('/');
  const isRepo = parts.length <= 2 && parts.every((part) => REPO_PART.test(part)) && !REPO_SUFFIX.test(repo);
  if (!isRepo) throw repoNotFound(repo);
  return repo;
}

/** @throws MirrorError 404 */
export function checkRevision(revision: string): string {
  if (REVISION.test(revision)) return revision;
  throw new MirrorError(404, `There is no revision ${revision} here.`, { code: 'RevisionNotFound' });
}

/** What an absolute path begins with on Windows. A colon elsewhere is a letter like others. */
const DRIVE = /^[a-z]:/i;

/**
 * A path that stays inside the folder into which a client unpacks a repository, on any system, and that can be put into
 * an address.
 */
export function isSafePath(path: string): boolean {
  if (path.length > 1024 || !path.isWellFormed() || /[\\\p{Cc}]/u.test(path)) return false;
  return !DRIVE.test(path) && path.split('/').every((part) => !/^\.{0,2}$/.test(part));
}

/** Where a repository's own things are kept in the store. */
export function repoFolder(repo: string): string {
  return `hf/models/${repo.replace('/', '--')}`;
}

/** A revision as a part of a name in the store; `=` is in no revision. */
export function revisionName(revision: string): string {
  return revision.replaceAll('/', '=');
}

/** Patterns such as `Qwen/*`, `gpt2` or `*`; a star matches any text. */
export function isAllowed(patterns: readonly string[], repo: string): boolean {
  return patterns.some((pattern) => {
    const star = pattern.indexOf('*');
    if (star < 0) return pattern.toLowerCase() === repo.toLowerCase();
    return repo.toLowerCase().startsWith(pattern.slice(0, star).toLowerCase());
  });
}
