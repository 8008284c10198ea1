/**
 * The hub's API for a repository, answered from a snapshot. Hashes of Xet are left out, so that clients download over
 * HTTP from the mirror; last commits are left out too, because they are not stored.
 */
import { MirrorError } from './errors.ts';
import type { HubBlob } from './segments.ts';
import type { Snapshot, TreeEntry } from './upstream.ts';

/** The answer of `/api/models/REPO`; with `blobs`, sizes and hashes too. */
export function repositoryInfo({ info, tree }: Snapshot, blobs: boolean): object {
  const files = tree.filter(({ type }) => type === 'file');
  return {
    ...info,
    siblings: files.map((entry) => ({ rfilename: entry.path, ...(blobs && blobInfo(entry)) })),
  };
}

function blobInfo({ oid, size, lfs }: TreeEntry): object {
  return {
    size: lfs?.size ?? size,
    blobId: oid,
    ...(lfs && { lfs: { sha256: lfs.oid, size: lfs.size, pointerSize: lfs.pointerSize } }),
  };
}

/**
 * The answer of `/api/models/REPO/tree/REVISION/FOLDER`: what is in the folder, or in it and all folders below.
 * @throws MirrorError 404 when there is no such folder.
 */
export function treeOf({ info, tree }: Snapshot, folder: string, recursive: boolean): TreeEntry[] {
  const prefix = folder === '' ? '' : `${folder}/`;
  const below = tree.filter(({ path }) => path.startsWith(prefix));
  if (below.length === 0 && folder !== '') {
    throw new MirrorError(404, 'There is no such folder.', { code: 'EntryNotFound', commit: info.sha });
  }
  return recursive ? below : below.filter(({ path }) => !path.slice(prefix.length).includes('/'));
}

/**
 * The answer of `/api/models/REPO/paths-info/REVISION`: of the files and folders that are there; the others are left
 * out.
 */
export function pathsInfo({ tree }: Snapshot, paths: readonly string[]): TreeEntry[] {
  const wanted = new Set(paths.map((path) => path.replace(/\/+$/, '')));
  return tree.filter(({ path }) => wanted.has(path));
}

/** The answer of `/api/models/REPO/refs`: the branch whose snapshot it is. */
export function references({ info }: Snapshot, branch: string): object {
  return {
    branches: [{ name: branch, ref: `refs/heads/${branch}`, targetCommit: info.sha }],
    converts: [],
    tags: [],
  };
}

/** What git has of a file in LFS: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md */
export function lfsPointer({ oid, size }: HubBlob): string {
  return `version https://git-lfs.github.com/spec/v1\noid sha256:${oid}\nsize ${size}\n`;
}
