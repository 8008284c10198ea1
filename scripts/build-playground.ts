/**
 * Builds the playground into build/playground, unless it is up to date: `npm run build:playground`. Fails if the result
 * is too large to load quickly.
 */
import { readdir, readFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { promisify } from 'node:util';
import { brotliCompress } from 'node:zlib';
import { buildIfChanged } from './build-stamp.ts';

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

await buildIfChanged({ patterns: INPUTS }, stamp, join(folder, 'index.html'), async () => {
  // Loading Vite takes longer than finding that the build is up to date.
  const { build } = await import('vite');
  await build({ configFile: join(root, 'playground/vite.config.ts'), logLevel: 'error' });
  await checkSize();
});

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
