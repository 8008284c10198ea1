/**
 * Bundles the worker for plain workerd, with wrangler as for Cloudflare, unless the bundle is up to date:
 * `npm run build:worker`. Needs no account.
 */
import { cp, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buildIfChanged } from './build-stamp.ts';
import { ASSETS_FOLDER, BUNDLE_FOLDER, type BundleDescription, descriptionPath } from './serve/bundle.ts';
import { bundleWith, definedRevision } from './wrangler.ts';

const root = join(import.meta.dirname, '..');
const folder = join(root, BUNDLE_FOLDER);
const configPath = join(root, 'wrangler.toml');

/** Everything that a file of the bundle can depend on, besides the revision. */
const PATTERNS = [
  'src/**/*',
  'build/kernels.*.wasm',
  'build/playground/**/*',
  'wrangler.toml',
  'tsconfig.json',
  'package-lock.json',
  'scripts/build-self-hosted.ts',
  'scripts/wrangler.ts',
  'scripts/serve/bundle.ts',
];

await buildIfChanged(
  { patterns: PATTERNS, values: definedRevision(configPath) },
  `${folder}.sha256`,
  descriptionPath(folder),
  build,
);

async function build(): Promise<void> {
  await rm(folder, { recursive: true, force: true });
  await bundleWith(configPath, folder, 'src/self-hosted.ts');
  await cp(join(root, 'build/playground'), join(folder, ASSETS_FOLDER), { recursive: true });
  // wrangler reads its environment when it is imported.
  const { unstable_readConfig } = await import('wrangler');
  const { compatibility_date, compatibility_flags } = unstable_readConfig({ config: configPath });
  const files = await readdir(folder);
  const description: BundleDescription = {
    main: 'self-hosted.js',
    wasm: files.filter((file) => file.endsWith('.wasm')),
    compatibilityDate: compatibility_date!,
    compatibilityFlags: compatibility_flags,
  };
  await writeFile(descriptionPath(folder), `${JSON.stringify(description, null, 2)}\n`);
  console.log(`bundled into ${BUNDLE_FOLDER}: ${[description.main, ...description.wasm].join(', ')}`);
}
