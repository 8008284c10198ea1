/** Bundles the self-hosted worker once, for all tests of it. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';

export default async function setup(): Promise<void> {
  await promisify(execFile)(process.execPath, ['scripts/build-self-hosted.ts'], {
    cwd: join(import.meta.dirname, '../..'),
  });
}
