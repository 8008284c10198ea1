/** The store for a command line: S3 by its settings, R2 of an account through wrangler, or R2 of the local runtime. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseEnv } from 'node:util';
import { type Bucket, r2Store } from '../../src/weights/r2-store.ts';
import { s3Store } from '../../src/weights/s3-store.ts';
import { readWeightSettings } from '../../src/weights/settings.ts';
import type { WritableStore } from '../../src/weights/store.ts';
import { OFFLINE, STATE_VERSION } from '../wrangler.ts';

export interface StoreChoice {
  /** The bucket of `WEIGHTS` in the account that wrangler is logged in to. */
  remote: boolean;
  /** The storage of the variables `S3_…`. */
  s3: boolean;
  /** Where the local runtime keeps its buckets. */
  state: string;
  envFiles: readonly string[];
}

export interface OpenStore {
  store: WritableStore;
  close(): Promise<void>;
}

/** Rejects with SettingsError. */
export async function openStore({ remote, s3, state, envFiles }: StoreChoice, configPath: string): Promise<OpenStore> {
  if (s3) {
    const files = await Promise.all(envFiles.map((file) => readFile(file, 'utf8')));
    const settings = readWeightSettings(Object.assign({}, ...files.map(parseEnv), process.env));
    if (settings.s3 === undefined) throw new Error('S3_ENDPOINT is not set');
    return { store: s3Store(settings.s3), close: async () => {} };
  }
  if (!remote) Object.assign(process.env, OFFLINE);
  const folder = await mkdtemp(join(tmpdir(), 'quicksilver-models-'));
  // wrangler reads its environment when it is imported.
  const { getPlatformProxy, unstable_readConfig } = await import('wrangler');
  const buckets: { binding: string; bucket_name?: string }[] = unstable_readConfig({ config: configPath }).r2_buckets;
  const bucket = buckets.find(({ binding }) => binding === 'WEIGHTS');
  const config = {
    name: 'quicksilver-models',
    compatibility_date: '2026-11-02',
    r2_buckets: [{ binding: 'WEIGHTS', bucket_name: bucket?.bucket_name, remote }],
  };
  const path = join(folder, 'wrangler.json');
  await writeFile(path, JSON.stringify(config));
  const { env, dispose } = await getPlatformProxy<{ WEIGHTS: Bucket }>({
    configPath: path,
    persist: { path: join(state, STATE_VERSION) },
    remoteBindings: remote,
  });
  const close = async () => {
    await dispose();
    await rm(folder, { recursive: true, force: true });
  };
  return { store: r2Store(env.WEIGHTS), close };
}
