/**
 * Deploys to Cloudflare: `npm run deploy [-- --dry-run | --push-models]`; other options go to wrangler. First it
 * bundles the worker and checks its size. `--dry-run` then lists what Cloudflare asks for and what of it is there, and
 * ends; `--push-models` uploads the models of `MODEL` to the bucket before it deploys.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { checklist } from './deploy/checklist.ts';
import { findAll } from './deploy/find.ts';
import { bundleWith, definedRevision, WRANGLER } from './wrangler.ts';

/**
 * The whole bundle is parsed at each cold start, which may take one second of processor time. The platform accepts 3
 * MiB (free plan) or 10 MiB (https://developers.cloudflare.com/workers/platform/limits/#worker-size); a bundle far
 * below that starts quickly. Raise the budget only with a reason.
 */
const BUDGET_GZIP_BYTES = 200 * 1024;

const root = join(import.meta.dirname, '..');
const configPath = join(root, 'wrangler.toml');
const folder = join(root, 'build/cloudflare');
const PUSH = '--push-models';
const options = process.argv.slice(2).filter((option) => option !== PUSH);
const isDryRun = options.includes('--dry-run');
const isPushing = process.argv.includes(PUSH);

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

const found = await findAll(configPath, join(root, 'models'));
console.log(checklist(found).join('\n'));

if (!isDryRun) {
  if (isPushing) {
    const names = found.models.map(({ name }) => name);
    await run([join(import.meta.dirname, 'models.ts'), 'push', ...names, '--remote']);
  }
  await run([WRANGLER, 'deploy', '--config', configPath, ...definedRevision(configPath), ...options]);
}

/** Runs a program of Node in this terminal, and ends with its exit code if that is not 0. */
async function run(args: readonly string[]): Promise<void> {
  const [code] = await once(spawn(process.execPath, args, { cwd: root, stdio: 'inherit' }), 'exit');
  if (code !== 0) process.exit(code ?? 1);
}

function kibibytes(bytes: number): string {
  return `${(bytes / 1024).toFixed(1).padStart(8)} KiB`;
}
