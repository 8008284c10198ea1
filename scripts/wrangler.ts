/** Runs wrangler without network calls of its own. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { join } from 'node:path';

/** Disables the network calls that wrangler makes by default. */
export const OFFLINE = {
  WRANGLER_SEND_METRICS: 'false',
  WRANGLER_SEND_ERROR_REPORTS: 'false',
  WRANGLER_HIDE_BANNER: 'true', // the banner looks for updates
  WRANGLER_WRITE_LOGS: 'false',
  CLOUDFLARE_CF_FETCH_ENABLED: 'false', // location data of the request.cf object
};

/** Where `wrangler dev --persist-to` looks for the state of local bindings. */
export const STATE_VERSION = 'v3';

export const WRANGLER = join(createRequire(import.meta.url).resolve('wrangler/package.json'), '../bin/wrangler.js');

/**
 * Options that give the worker the commit that it was built from (src/version.ts): the environment variable REVISION,
 * for an image that is built without the repository, or the commit that is checked out, with `-dirty` if files were
 * changed.
 */
export function definedRevision(configPath: string): string[] {
  const folder = join(configPath, '..');
  const described = spawnSync('git', ['describe', '--always', '--dirty', '--exclude=*', '--abbrev=12'], {
    cwd: folder,
    encoding: 'utf8',
  });
  const revision = process.env.REVISION || described.stdout?.trim() || 'unknown';
  return ['--define', `QUICKSILVER_REVISION:${JSON.stringify(revision)}`];
}

/**
 * Bundles `entry` (that of the configuration by default) into `folder` as for a deployment, without deploying it.
 * Rejects with the output of wrangler if that fails.
 * @returns the output of wrangler: sizes and bindings.
 */
export async function bundleWith(configPath: string, folder: string, entry?: string): Promise<string> {
  const child = spawn(
    process.execPath,
    [
      ...[WRANGLER, 'deploy', ...(entry ? [entry] : []), '--config', configPath, ...definedRevision(configPath)],
      ...['--dry-run', '--outdir', folder],
    ],
    { cwd: join(configPath, '..'), env: { ...process.env, ...OFFLINE }, stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk));
  const [code] = await once(child, 'close');
  if (code !== 0) throw new Error(`wrangler deploy --dry-run ended with ${code}:\n${output}`);
  return output;
}
