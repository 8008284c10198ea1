/**
 * Builds the playground into build/playground, unless it is there already and made of the same: `npm run build:playground`. Refuses what is
 * larger than a visitor should have to wait for.
 */
import { createHash } from 'node:crypto';
import { glob, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { promisify } from 'node:util';
import { brotliCompress } from 'node:zlib';

/** All that is needed to run the page and the denoiser, but for the weights, as a browser gets it: in Brotli, which is what all take. */
const MAX_COMPRESSED_BYTES = 250_000;

/** Everything that a file of the build can depend on. */
const INPUTS = [
  'playground/**/*',
  'src/**/*.ts',
  'build/kernels.*.wasm',
  'package-lock.json',
  'scripts/build-playground.ts',
];

const root = join(import.meta.dirname, '..');
const folder = join(root, 'build/playground');
const stamp = join(root, 'build/playground.sha256');

const inputs = await hashOfInputs();
if ((await readFile(stamp, 'utf8').catch(() => '')) !== inputs || !(await exists(join(folder, 'index.html')))) {
  // Vite takes longer to load than to find that there is nothing to do.
  const { build } = await import('vite');
  await build({ configFile: join(root, 'playground/vite.config.ts'), logLevel: 'error' });
  await checkSize();
  await writeFile(stamp, inputs);
}

async function hashOfInputs(): Promise<string> {
  const hash = createHash('sha256');
  for (const pattern of INPUTS) {
    const names: string[] = [];
    for await (const name of glob(pattern, { cwd: root })) names.push(name);
    for (const name of names.sort()) {
      const path = join(root, name);
      if ((await stat(path)).isFile()) hash.update(`${name}\0`).update(await readFile(path));
    }
  }
  return hash.digest('hex');
}

async function checkSize(): Promise<void> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const sizes = await Promise.all(
    entries
      .filter((entry) => entry.isFile())
      .map(async ({ parentPath, name }) => {
        const path = join(parentPath, name);
        const { length } = await promisify(brotliCompress)(await readFile(path));
        return { name: relative(folder, path), bytes: length };
      }),
  );
  const total = sizes.reduce((sum, { bytes }) => sum + bytes, 0);
  console.log(`playground: ${total} bytes compressed, of at most ${MAX_COMPRESSED_BYTES}`);
  if (total <= MAX_COMPRESSED_BYTES) return;
  const largest = sizes.sort((a, b) => b.bytes - a.bytes).map(({ name, bytes }) => `${name} ${bytes}`);
  throw new Error(`the playground is too large:\n${largest.join('\n')}`);
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
