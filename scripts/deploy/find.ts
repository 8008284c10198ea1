/** Looks up what a deployment needs: on this machine, and in the account if wrangler is logged in. */
import { spawnSync } from 'node:child_process';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { unstable_readConfig } from 'wrangler';
import { entriesOf } from '../../src/settings.ts';
import { MANIFEST, parseManifest } from '../../src/weights/manifest.ts';
import { OFFLINE, WRANGLER } from '../wrangler.ts';
import type { Found } from './checklist.ts';

/** Without an answer by then, something counts as not checked. */
const ANSWER_TIMEOUT_MS = 20_000;

export async function findAll(configPath: string, modelsFolder: string): Promise<Found> {
  const config = unstable_readConfig({ config: configPath });
  const bucket = config.r2_buckets.find(({ binding }: { binding: string }) => binding === 'WEIGHTS')?.bucket_name ?? '';
  const names = entriesOf(String(config.vars.MODEL ?? ''));
  const ask = (...args: string[]) => {
    const { status, stdout } = spawnSync(process.execPath, [WRANGLER, ...args, '--config', configPath], {
      encoding: 'utf8',
      timeout: ANSWER_TIMEOUT_MS,
      env: { ...process.env, ...OFFLINE },
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    return status === 0 ? stdout : undefined;
  };
  const isLoggedIn = !/not authenticated/i.test(ask('whoami') ?? 'not authenticated');
  const buckets = isLoggedIn ? ask('r2', 'bucket', 'list') : undefined;
  const secrets = isLoggedIn ? ask('secret', 'list') : undefined;
  return {
    worker: config.name ?? 'quicksilver',
    bucket,
    isLoggedIn,
    hasBucket: buckets?.split(/\s+/).includes(bucket),
    hasKeys: secrets?.includes('"API_KEYS"'),
    models: await Promise.all(names.map((name) => modelOf(modelsFolder, name))),
  };
}

/** Compares the sizes of the files with the manifest; `npm run models:push` compares the hashes while it sends them. */
async function modelOf(folder: string, name: string): Promise<Found['models'][number]> {
  try {
    const manifest = parseManifest(await readFile(join(folder, name, MANIFEST), 'utf8'));
    let bytes = 0;
    for (const file of manifest.files) {
      const { size } = await stat(join(folder, name, file.path));
      if (size !== file.size) throw new Error(`${file.path} has ${size} bytes, the manifest says ${file.size}`);
      bytes += size;
    }
    return { name, megabytes: bytes / 1e6, problem: undefined };
  } catch (error) {
    const problem = error instanceof Error ? error.message : String(error);
    return { name, megabytes: 0, problem };
  }
}
