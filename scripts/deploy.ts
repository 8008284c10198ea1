/**
 * Deploys to Cloudflare: `npm run deploy [-- --dry-run]`; other options go to wrangler. First it bundles the worker and
 * checks its size. `--dry-run` does only that.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { bundleWith, definedRevision, WRANGLER } from './wrangler.ts';

/**
 * The whole bundle is parsed at each cold start, which may take one second of processor time. The platform accepts 3
 * MiB (free plan) or 10 MiB (https://developers.cloudflare.com/workers/platform/limits/#worker-size); a bundle far
 * below that starts quickly. Raise the budget only with a reason.
 */
const BUDGET_GZIP_BYTES = 256 * 1024;

const root = join(import.meta.dirname, '..');
const configPath = join(root, 'wrangler.toml');
const folder = join(root, 'build/cloudflare');
const options = process.argv.slice(2);
const isDryRun = options.includes('--dry-run');

await rm(folder, { recursive: true, force: true });
const report = await bundleWith(configPath, folder);
console.log(report.trim());

const modules = (await readdir(folder)).filter((file) => /\.(js|wasm)$/.test(file)).sort();
let total = 0;
for (const file of modules) {
  const content = await readFile(join(folder, file));
  const compressed = gzipSync(content).length;
  total += compressed;
  console.log(`${kibibytes(content.length)} ${kibibytes(compressed)} compressed  ${file}`);
}
console.log(`${kibibytes(total)} compressed in all, of a budget of ${kibibytes(BUDGET_GZIP_BYTES).trim()}`);
if (total > BUDGET_GZIP_BYTES) {
  console.error('the bundle is over its budget');
  process.exit(1);
}

if (!isDryRun) {
  const wrangler = spawn(
    process.execPath,
    [WRANGLER, 'deploy', '--config', configPath, ...definedRevision(configPath), ...options],
    {
      cwd: root,
      stdio: 'inherit',
    },
  );
  const [code] = await once(wrangler, 'exit');
  process.exit(code ?? 1);
}

function kibibytes(bytes: number): string {
  return `${(bytes / 1024).toFixed(1).padStart(8)} KiB`;
}
