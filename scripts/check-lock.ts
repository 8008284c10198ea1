/** Rejects a lock file that cannot be trusted: `npm run audit:lock`. Needs no network. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { lockProblems } from './lock/problems.ts';

const root = join(import.meta.dirname, '..');
const json = async (name: string) => JSON.parse(await readFile(join(root, name), 'utf8')) as unknown;
const lock = (await json('package-lock.json')) as { packages: object };
const problems = lockProblems(lock, await json('package.json'));
for (const problem of problems) console.error(problem);
if (problems.length > 0) process.exit(1);
console.log(
  `${Object.keys(lock.packages).length - 1} packages from the registry: exact versions, hashes, allowed licences and scripts`,
);
