/** Skips a build whose inputs have not changed: a stamp file next to the output has the hash of the inputs. */
import { createHash } from 'node:crypto';
import { access, glob, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');

export interface Inputs {
  /** Glob patterns of files, relative to the root of the repository. */
  patterns: readonly string[];
  /** Other values that the output depends on. */
  values?: readonly string[];
}

/**
 * Runs `build`, unless `stamp` has the hash of the inputs and `output` exists. The stamp is written after a build that
 * succeeded.
 * @param output a file that the build writes last
 */
export async function buildIfChanged(
  inputs: Inputs,
  stamp: string,
  output: string,
  build: () => Promise<void>,
): Promise<void> {
  const hash = await hashOf(inputs);
  if ((await readFile(stamp, 'utf8').catch(() => '')) === hash && (await exists(output))) return;
  await rm(stamp, { force: true });
  await build();
  await writeFile(stamp, hash);
}

async function hashOf({ patterns, values = [] }: Inputs): Promise<string> {
  const hash = createHash('sha256').update(JSON.stringify(values));
  for (const pattern of patterns) {
    const names: string[] = [];
    for await (const name of glob(pattern, { cwd: root })) names.push(name);
    for (const name of names.sort()) {
      const path = join(root, name);
      if ((await stat(path)).isFile()) hash.update(`${name}\0`).update(await readFile(path));
    }
  }
  return hash.digest('hex');
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
