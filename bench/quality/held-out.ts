/**
 * JavaScript and TypeScript that no model of this repository was trained on: the validation packages of
 * training/corpus/manifest.json that come from npm, fetched with `npm pack` at their pinned versions, verified, and
 * kept in the system's temporary directory.
 */

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as z from 'zod';

const MANIFEST = new URL('../../training/corpus/manifest.json', import.meta.url);
const FOLDER = join(tmpdir(), 'quicksilver-held-out');
/** Below: stubs and re-exports. Above: tables and bundles. */
const FILE_BYTES = { min: 1_500, max: 60_000 };
/** Longer lines are data. */
const MAX_LINE = 400;

const manifestSchema = z.object({
  packages: z.array(
    z.object({
      name: z.string(),
      version: z.string(),
      integrity: z.string(),
      split: z.string(),
      registry: z.string().default('npm'),
    }),
  ),
});

type PinnedPackage = z.output<typeof manifestSchema>['packages'][number];

export interface HeldOutPackage {
  readonly name: string;
  readonly version: string;
  /** Source files, by path. */
  readonly files: readonly { readonly path: string; readonly text: string }[];
}

/** The packages of a split, in manifest order. Throws when one cannot be fetched or is not the pinned one. */
export function heldOutPackages(split: 'validation' | 'test' = 'validation'): HeldOutPackage[] {
  const { packages } = manifestSchema.parse(JSON.parse(readFileSync(MANIFEST, 'utf8')));
  mkdirSync(FOLDER, { recursive: true });
  return packages
    .filter((pinned) => pinned.split === split && pinned.registry === 'npm')
    .map((pinned) => ({ name: pinned.name, version: pinned.version, files: sourceFiles(fetched(pinned)) }))
    .filter(({ files }) => files.length > 0);
}

/** Folder of an unpacked package. */
function fetched({ name, version, integrity }: PinnedPackage): string {
  const id = `${name.replace('@', '').replace('/', '-')}-${version}`;
  const folder = join(FOLDER, id);
  if (existsSync(folder)) return folder;
  // Benchmarks that run at the same time may fetch the same package.
  const own = mkdtempSync(join(FOLDER, 'partial-'));
  try {
    execFileSync('npm', ['pack', '--silent', '--ignore-scripts', '--pack-destination', own, `${name}@${version}`]);
    const tarball = join(own, `${id}.tgz`);
    const found = `sha512-${createHash('sha512').update(readFileSync(tarball)).digest('base64')}`;
    if (found !== integrity) throw new Error(`${name}@${version}: expected ${integrity}, got ${found}`);
    const unpacked = join(own, 'package');
    mkdirSync(unpacked);
    execFileSync('tar', ['-xzf', tarball, '-C', unpacked, '--strip-components=1']);
    renameUnlessThere(unpacked, folder);
  } finally {
    rmSync(own, { recursive: true });
  }
  return folder;
}

function renameUnlessThere(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (error) {
    if (!existsSync(to)) throw error;
  }
}

/**
 * Files written by hand: those in `src` if it exists, else in `lib`. Sorted by path, so that every machine has the same
 * order.
 */
function sourceFiles(folder: string): HeldOutPackage['files'] {
  const root = ['src', 'lib', '.'].find((name) => existsSync(join(folder, name)))!;
  return readdirSync(join(folder, root), { recursive: true, encoding: 'utf8' })
    .filter(
      (path) => /\.[cm]?[jt]sx?$/.test(path) && !/\.d\.[cm]?ts$|(^|\/)(tests?|__tests__|locales)\/|\.test\./.test(path),
    )
    .sort()
    .map((path) => ({ path: join(root, path), file: join(folder, root, path) }))
    .filter(({ file }) => {
      const { size } = statSync(file);
      return size >= FILE_BYTES.min && size <= FILE_BYTES.max;
    })
    .map(({ path, file }) => ({ path, text: readFileSync(file, 'utf8').replaceAll('\r\n', '\n') }))
    .filter(({ text }) => text.split('\n').every((line) => line.length <= MAX_LINE));
}
