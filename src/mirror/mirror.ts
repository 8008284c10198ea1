/** A mirror of a Hugging Face hub in a store: what may be mirrored, where a revision points, and the files. */
import { WeightsDamaged, WeightsMissing } from '../weights/errors.ts';
import type { ByteRange, StoredObject, WritableStore } from '../weights/store.ts';
import { Blobs, type OpenBlob } from './blobs.ts';
import { MirrorError, repoNotFound } from './errors.ts';
import { checkRepo, checkRevision, isAllowed } from './names.ts';
import type { HubBlob } from './segments.ts';
import type { MirrorSettings } from './settings.ts';
import { Snapshots } from './snapshots.ts';
import { type Snapshot, type TreeEntry, type Upstream, upstreamOf } from './upstream.ts';

export interface HubFile extends HubBlob {
  repo: string;
  commit: string;
  path: string;
  entry: TreeEntry;
}

interface MirrorOptions {
  store: WritableStore;
  log: (message: string) => void;
  segmentBytes?: number;
  /** Milliseconds before the first repetition of a request to the hub. */
  retryDelayMs?: number;
}

export class Mirror {
  readonly blobs: Blobs;
  readonly #repos: readonly string[];
  readonly #upstream: Upstream;
  readonly #snapshots: Snapshots;

  constructor({ repos, url, token, refreshMs }: MirrorSettings, { store, log, ...options }: MirrorOptions) {
    this.blobs = new Blobs({ store, log, ...options });
    this.#repos = repos;
    this.#upstream = upstreamOf({ url, token, log, ...options });
    this.#snapshots = new Snapshots({ store, upstream: this.#upstream, refreshMs, log });
  }

  /** @throws MirrorError 404 for what is not mirrored, or not there. */
  async snapshot(repo: string, revision: string): Promise<Snapshot> {
    checkRepo(repo);
    if (!isAllowed(this.#repos, repo)) throw repoNotFound(repo);
    return this.#snapshots.at(repo, checkRevision(revision));
  }

  /** @throws MirrorError 404 when the commit has no such file. */
  async file(repo: string, revision: string, path: string): Promise<HubFile> {
    const { info, tree } = await this.snapshot(repo, revision);
    const entry = tree.find((candidate) => candidate.type === 'file' && candidate.path === path);
    if (entry === undefined) {
      throw new MirrorError(404, `${repo} has no such file.`, { code: 'EntryNotFound', commit: info.sha });
    }
    return { repo, commit: info.sha, path, entry, ...blobOf(entry) };
  }

  /**
   * @throws MirrorError when the hub does not give it, or gives something else; StoreFailed when the store cannot be
   * read.
   */
  async open(
    file: HubFile,
    range: Required<ByteRange> | undefined,
    keepAlive: (pull: Promise<unknown>) => void,
  ): Promise<OpenBlob> {
    const origin = async (offset: number): Promise<StoredObject | null> =>
      this.#upstream.file(file.repo, file.commit, file.path, offset);
    try {
      return await this.blobs.open(file, range, origin, keepAlive);
    } catch (cause) {
      // Missing is what a pull found damaged, and removed, after the reader had joined it.
      if (!(cause instanceof WeightsDamaged || cause instanceof WeightsMissing)) throw cause;
      throw new MirrorError(502, `What the hub sends of ${file.path} is not what it lists.`, { cause });
    }
  }
}

/** What is downloaded for an entry, which for a file in LFS is not what git has. */
export function blobOf({ oid, size, lfs }: TreeEntry): HubBlob {
  return lfs ? { oid: lfs.oid, size: lfs.size } : { oid, size };
}
