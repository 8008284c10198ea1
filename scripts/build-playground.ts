/**
 * Builds the playground into build/playground, unless it is up to date: `npm run build:playground`. Fails if the result
 * is too large to load quickly.
 */
import { createHash } from 'node:crypto';
import { glob, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { promisify } from 'node:util';
import { brotliCompress } from 'node:zlib';

/**
 * Everything that the page and the denoiser need except the weights, compressed with Brotli, which all browsers
 * support.
 */
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
  // Loading Vite takes longer than finding that the build is up to date.
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
