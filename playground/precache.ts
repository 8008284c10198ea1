/**
 * Puts the list of the page's files into the service worker, in place of a placeholder, after all of them are written.
 */
import { createHash } from 'node:crypto';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import type { Plugin } from 'vite';

const SERVICE_WORKER = 'service-worker.js';

/** The placeholder for the list in the source of the service worker. */
const PLACEHOLDER = '__PRECACHE__';

export function precache(): Plugin {
  return {
    name: 'quicksilver:precache',
    apply: 'build',
    async writeBundle({ dir }) {
      if (dir === undefined) throw new Error('the bundle has no folder');
      const files = (await filesOf(dir)).filter((file) => file !== SERVICE_WORKER).sort();
      const hash = createHash('sha256');
      for (const file of files) hash.update(file).update(await readFile(join(dir, file)));
      const list = { version: hash.digest('hex').slice(0, 16), files: files.map((file) => `/${file}`) };
      const path = join(dir, SERVICE_WORKER);
      const source = await readFile(path, 'utf8');
      if (!source.includes(PLACEHOLDER)) throw new Error(`${SERVICE_WORKER} has no ${PLACEHOLDER}`);
      await writeFile(path, source.replace(PLACEHOLDER, JSON.stringify(list)));
    },
  };
}

async function filesOf(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)).split(sep).join('/'));
}
