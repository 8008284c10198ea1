/**
 * The contents of repositories at a revision, from the store if known. A commit never changes; a branch is looked up
 * again after some time.
 */
import * as z from 'zod';
import type { Bytes, WritableStore } from '../weights/store.ts';
import { MirrorError } from './errors.ts';
import { isCommit, repoFolder, revisionName } from './names.ts';
import { type Snapshot, snapshotSchema, type Upstream } from './upstream.ts';

const reference = z.object({ commit: z.string().refine(isCommit), checkedMs: z.number() });
type Reference = z.output<typeof reference>;

interface SnapshotsOptions {
  store: WritableStore;
  upstream: Upstream;
  /** After this time the hub is asked again where a branch or tag points. */
  refreshMs: number;
  now?: () => number;
  /** Called when the hub could not be reached and stored data were used. */
  log: (message: string) => void;
}

/** Snapshots that stay in memory; a listing has some hundred bytes a file. */
const MAX_REMEMBERED = 8;

const MAX_UNSTORED = 1_000;

/** Statuses of a hub that cannot answer now. */
const UNABLE: readonly number[] = [429, 502, 503];

export class Snapshots {
  readonly #options: Required<SnapshotsOptions>;
  readonly #remembered = new Map<string, Snapshot>();
  readonly #asking = new Map<string, Promise<Snapshot>>();
  /** What could not be written to the store, by its name. */
  readonly #unstored = new Map<string, Reference>();

  constructor(options: SnapshotsOptions) {
    this.#options = { now: Date.now, ...options };
  }

  /** @throws MirrorError when neither the store nor the hub has it. */
  async at(repo: string, revision: string): Promise<Snapshot> {
    const stored = isCommit(revision) ? undefined : await this.#reference(repo, revision);
    const commit = isCommit(revision) ? revision : stored?.commit;
    const isFresh = stored === undefined || this.#options.now() - stored.checkedMs < this.#options.refreshMs;
    if (commit !== undefined && isFresh) {
      const snapshot = await this.#stored(repo, commit);
      if (snapshot !== undefined) return snapshot;
    }
    try {
      return await this.#ask(repo, revision);
    } catch (error) {
      // A refusal of the hub is passed on; if the hub cannot answer now, its last answer is used.
      const isDown = error instanceof MirrorError && UNABLE.includes(error.status);
      const snapshot = isDown && commit !== undefined ? await this.#stored(repo, commit) : undefined;
      if (snapshot === undefined) throw error;
      this.#options.log(`${repo}: the hub cannot be asked where ${revision} points; ${commit} is given`);
      return snapshot;
    }
  }

  /** One request for all concurrent callers. */
  #ask(repo: string, revision: string): Promise<Snapshot> {
    const key = `${repo}@${revision}`;
    let asking = this.#asking.get(key);
    if (asking === undefined) {
      asking = this.#fetch(repo, revision).finally(() => this.#asking.delete(key));
      this.#asking.set(key, asking);
    }
    return asking;
  }

  async #fetch(repo: string, revision: string): Promise<Snapshot> {
    const { store, upstream, now, log } = this.#options;
    const snapshot = await upstream.snapshot(repo, revision);
    const { sha } = snapshot.info;
    if (isCommit(revision) && sha !== revision) throw new MirrorError(502, `The hub says ${sha} for ${revision}.`);
    this.#remember(repo, snapshot);
    const points: Reference = { commit: sha, checkedMs: now() };
    const name = referenceName(repo, revision);
    try {
      await store.put(snapshotName(repo, sha), json(snapshot));
      if (!isCommit(revision)) await store.put(name, json(points));
      this.#unstored.delete(name);
    } catch (error) {
      // This process still knows it until it ends.
      if (!isCommit(revision)) this.#rememberUnstored(name, points);
      log(`${repo} at ${revision} cannot be kept: ${error instanceof Error ? error.message : error}`);
    }
    return snapshot;
  }

  async #reference(repo: string, revision: string): Promise<Reference | undefined> {
    const name = referenceName(repo, revision);
    const [stored, unstored] = [await this.#read(name, reference), this.#unstored.get(name)];
    return (unstored?.checkedMs ?? 0) > (stored?.checkedMs ?? 0) ? unstored : stored;
  }

  #rememberUnstored(name: string, points: Reference): void {
    this.#unstored.delete(name);
    this.#unstored.set(name, points);
    const [oldest] = this.#unstored.keys();
    if (this.#unstored.size > MAX_UNSTORED) this.#unstored.delete(oldest!);
  }

  async #stored(repo: string, commit: string): Promise<Snapshot | undefined> {
    const remembered = this.#remembered.get(snapshotName(repo, commit));
    if (remembered !== undefined) return remembered;
    const snapshot = await this.#read(snapshotName(repo, commit), snapshotSchema);
    if (snapshot === undefined || snapshot.info.sha !== commit) return undefined;
    this.#remember(repo, snapshot);
    return snapshot;
  }

  #remember(repo: string, snapshot: Snapshot): void {
    this.#remembered.set(snapshotName(repo, snapshot.info.sha), snapshot);
    const [oldest] = this.#remembered.keys();
    if (this.#remembered.size > MAX_REMEMBERED) this.#remembered.delete(oldest!);
  }

  /** Undefined when it is not there, or is not what was written; then it is fetched again. */
  async #read<Schema extends z.ZodType>(name: string, schema: Schema): Promise<z.output<Schema> | undefined> {
    const object = await this.#options.store.get(name);
    if (object === null) return undefined;
    try {
      return schema.parse(JSON.parse(await new Response(object.stream).text()));
    } catch {
      return undefined;
    }
  }
}

function snapshotName(repo: string, commit: string): string {
  return `${repoFolder(repo)}/commits/${commit}.json`;
}

function referenceName(repo: string, revision: string): string {
  return `${repoFolder(repo)}/refs/${revisionName(revision)}.json`;
}

function json(value: object): Bytes {
  return new TextEncoder().encode(JSON.stringify(value));
}
