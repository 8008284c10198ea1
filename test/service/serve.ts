/** Starts the whole service as `npm start` does, on a free port and with a bucket of its own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '../..');

/** Bundling, starting workerd and storing the model on a machine that does other things as well. */
const START_TIMEOUT_MS = 90_000;

export interface Service {
  url: string;
  stop(): Promise<void>;
}

/** Serves the models of a folder. Rejects with the output of the process when it does not start. `args` go to `npm start`. */
export async function serve(modelsFolder: string, args: readonly string[] = []): Promise<Service> {
  const port = await freePort();
  const state = await mkdtemp(join(tmpdir(), 'quicksilver-'));
  const child = spawn(
    process.execPath,
    ['scripts/start.ts', '--port', String(port), '--state', state, '--models', modelsFolder, ...args],
    { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] },
  );
  const stop = async () => {
    if (child.exitCode === null && child.signalCode === null) {
      const exited = once(child, 'exit');
      child.kill('SIGTERM');
      await exited;
    }
    await rm(state, { recursive: true, force: true });
  };
  try {
    await started(child);
  } catch (error) {
    await stop();
    throw error;
  }
  return { url: `http://127.0.0.1:${port}`, stop };
}

function started(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    let output = '';
    const fail = (what: string) => reject(new Error(`the service ${what}:\n${output}`));
    const timeout = setTimeout(() => fail('did not start in time'), START_TIMEOUT_MS);
    const read = (chunk: Buffer) => {
      output += chunk;
      if (!output.includes('serving on')) return;
      clearTimeout(timeout);
      resolve();
    };
    child.stdout?.on('data', read);
    child.stderr?.on('data', read);
    child.on('exit', (code) => {
      clearTimeout(timeout);
      fail(`exited with ${code}`);
    });
  });
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}
