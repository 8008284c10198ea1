/** A workerd process that runs a bundled worker of a benchmark. */
import { spawn } from 'node:child_process';
import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import workerd from 'workerd';
import { claimPort } from '../../../scripts/serve/listener.ts';

/** A process that has not started by then has failed. */
const START_TIMEOUT_MS = 30_000;

export interface WorkerdProcess {
  readonly pid: number;
  /** The body of the response; throws when its status is an error. */
  get(path: string): Promise<string>;
  kill(): void;
}

/** @param folder of a bundle: `worker.js` and the modules that it imports */
export async function startWorkerd(folder: string, compatibilityDate: string): Promise<WorkerdProcess> {
  const modules = (await readdir(folder))
    .filter((file) => /\.(js|wasm)$/.test(file))
    .sort((one) => (one === 'worker.js' ? -1 : 1)) // the first is the entry
    .map((file) => `(name = "${file}", ${file.endsWith('.js') ? 'esModule' : 'wasm'} = embed "${file}")`);
  const port = await claimPort({ host: '127.0.0.1', port: 0 });
  const path = join(folder, 'bench.capnp');
  await writeFile(
    path,
    `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "main", worker = .worker)],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "main")],
);
const worker :Workerd.Worker = (modules = [${modules.join(', ')}], compatibilityDate = "${compatibilityDate}");
`,
  );
  const child = spawn(workerd.default, ['serve', path], { stdio: ['ignore', 'inherit', 'inherit'] });
  const get = async (path: string) => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`);
    const body = await response.text();
    if (!response.ok) throw new Error(`workerd answers ${response.status}: ${body}`);
    return body;
  };
  const end = Date.now() + START_TIMEOUT_MS;
  while (
    !(await fetch(`http://127.0.0.1:${port}/`).then(
      (response) => response.text(),
      () => undefined,
    ))
  ) {
    if (child.exitCode !== null || Date.now() > end) {
      child.kill('SIGKILL');
      throw new Error('workerd does not answer');
    }
    await sleep(50);
  }
  return { pid: child.pid!, get, kill: () => void child.kill('SIGKILL') };
}
