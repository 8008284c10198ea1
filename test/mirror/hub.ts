/**
 * A hub for tests: repositories by name, each with one commit, over the API that downloads use. Files larger than a
 * kilobyte are in LFS.
 */
import { createHash } from 'node:crypto';
import { type Origin, startOrigin } from '../weights/origin.ts';

export interface Hub extends Origin {
  commit: string;
}

export const REPO = 'acme/tiny';

const LFS_BYTES = 1024;

export const sha1 = (...parts: (string | Uint8Array)[]) => {
  const hash = createHash('sha1');
  for (const part of parts) hash.update(part);
  return hash.digest('hex');
};

export const oidOf = (content: Uint8Array) =>
  content.byteLength > LFS_BYTES
    ? createHash('sha256').update(content).digest('hex')
    : sha1(`blob ${content.byteLength}\0`, content);

function entryOf(path: string, content: Uint8Array) {
  const isLfs = content.byteLength > LFS_BYTES;
  const file = { type: 'file', path, size: content.byteLength, oid: isLfs ? sha1(path) : oidOf(content) };
  const lfs = { oid: oidOf(content), size: content.byteLength, pointerSize: 134 };
  return isLfs ? { ...file, lfs, xetHash: lfs.oid } : file;
}

/** Starts a hub with the files of `REPO` on branch `main`, and folders of the given names. */
export async function startHub(files: Record<string, Uint8Array>, folders: string[] = []): Promise<Hub> {
  const commit = sha1(...Object.keys(files));
  const origin = await startOrigin();
  const put = (path: string, value: unknown) => origin.files.set(path, new TextEncoder().encode(JSON.stringify(value)));
  const siblings = Object.keys(files).map((rfilename) => ({ rfilename }));
  const info = { id: REPO, sha: commit, private: false, tags: ['test'], siblings };
  for (const revision of ['main', commit, 'refs%2Fpr%2F1']) put(`api/models/${REPO}/revision/${revision}`, info);
  put(`api/models/${REPO}/tree/${commit}?recursive=true`, [
    ...folders.map((path) => ({ type: 'directory', path, oid: sha1(path), size: 0 })),
    ...Object.entries(files).map(([path, content]) => entryOf(path, content)),
  ]);
  for (const [path, content] of Object.entries(files)) {
    const encoded = path.split('/').map(encodeURIComponent).join('/');
    origin.files.set(`${REPO}/resolve/${commit}/${encoded}`, content);
  }
  return Object.assign(origin, { commit });
}
