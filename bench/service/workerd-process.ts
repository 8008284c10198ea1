/** One plain workerd process with the service, without the supervisor of `npm run serve`, and the memory it uses. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import workerd from 'workerd';
import { readBundle } from '../../scripts/serve/bundle.ts';
import { CONTROL_SOCKET, HTTP_SOCKET, workerdConfig } from '../../scripts/serve/config.ts';
import { claimPort } from '../../scripts/serve/listener.ts';

const BUNDLE = fileURLToPath(new URL('../../build/self-hosted', import.meta.url));
/** A process that has not started by then has failed. */
const START_TIMEOUT_MS = 30_000;

export interface WorkerdProcess {
  readonly child: ChildProcess;
  readonly url: string;
  /** Of the inspector, if there is one. */
  readonly inspectorPort: number;
  /** Rejects when the process has ended, of itself or by a signal. */
  readonly ended: Promise<never>;
}

export interface WorkerdParts {
  /** For its configuration. */
  readonly folder: string;
  /** Folder of the models. */
  readonly models: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly isInspected?: boolean;
  /** MiB that the JavaScript heap may have at most; V8's own limit when absent. A process that needs more ends. */
  readonly heapMib?: number;
}

/** A process whose isolate has not handled a completion yet. */
export async function startWorkerd({
  folder,
  models,
  environment,
  isInspected,
  heapMib,
}: WorkerdParts): Promise<WorkerdProcess> {
  const [port, inspectorPort] = [await freePort(), await freePort()];
  const bundle = await readBundle(BUNDLE);
  const configPath = join(folder, 'bench.capnp');
  const config = workerdConfig({ bundle, models, variables: Object.keys(environment), folder });
  const limit = heapMib === undefined ? '' : `v8Flags = ["--max-heap-size=${heapMib}"],\n  `;
  await writeFile(configPath, config.replace('logging =', `${limit}logging =`));
  const child = spawn(
    workerd.default,
    [
      ...['serve', configPath],
      ...['--socket-addr', `${HTTP_SOCKET}=127.0.0.1:${port}`],
      ...['--socket-addr', `${CONTROL_SOCKET}=unix:${join(folder, `control-${port}`)}`],
      ...(isInspected ? [`--inspector-addr=127.0.0.1:${inspectorPort}`] : []),
    ],
    { env: { ...process.env, ...environment }, stdio: ['ignore', 'ignore', 'inherit'] },
  );
  const ended = once(child, 'exit').then(([code, signal]): never => {
    throw new Error(`workerd ended with ${code ?? signal}`);
  });
  ended.catch(() => {}); // Those who kill the process do not wait for its end.
  const url = `http://127.0.0.1:${port}`;
  // A request that needs no model.
  for (const end = Date.now() + START_TIMEOUT_MS; ; await Promise.race([sleep(20), ended])) {
    const answer = await fetch(`${url}/health`).catch(() => undefined);
    await answer?.body?.cancel();
    if (answer?.ok) return { child, url, inspectorPort, ended };
    if (Date.now() > end) throw new Error('workerd does not answer');
  }
}

function freePort(): Promise<number> {
  return claimPort({ host: '127.0.0.1', port: 0 });
}

/** Resident memory of a process, now and at its peak, in MiB. */
export async function memoryOf(pid: number): Promise<{ resident: number; peak: number }> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  const kib = (name: string) => Number(new RegExp(`${name}:\\s+(\\d+) kB`).exec(status)![1]) / 1024;
  return { resident: kib('VmRSS'), peak: kib('VmHWM') };
}

/** What V8 tells of an isolate, in bytes. */
export interface IsolateMemory {
  /** JavaScript objects that are alive or not collected yet, and what the heap has taken for them. */
  readonly usedSize: number;
  readonly totalSize: number;
  /** ArrayBuffers, without WASM memories. */
  readonly backingStorageSize: number;
}

/** Asks an isolate by the inspector's protocol, which costs it nothing in between. */
export class Inspector {
  readonly #socket: WebSocket;
  #calls = 0;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
  }

  static async connect(port: number): Promise<Inspector> {
    const targets = await (await fetch(`http://127.0.0.1:${port}/json`)).json();
    const socket = new WebSocket((targets as { webSocketDebuggerUrl: string }[])[0]!.webSocketDebuggerUrl);
    await once(socket, 'open');
    return new Inspector(socket);
  }

  async memory(): Promise<IsolateMemory> {
    return (await this.#call('Runtime.getHeapUsage')) as IsolateMemory;
  }

  close(): void {
    this.#socket.close();
  }

  #call(method: string): Promise<unknown> {
    const id = ++this.#calls;
    return new Promise((resolve, reject) => {
      const listen = ({ data }: MessageEvent) => {
        const message = JSON.parse(String(data));
        if (message.id !== id) return;
        this.#socket.removeEventListener('message', listen);
        if (message.error) reject(new Error(`${method}: ${message.error.message}`));
        else resolve(message.result);
      };
      this.#socket.addEventListener('message', listen);
      this.#socket.send(JSON.stringify({ id, method }));
    });
  }
}
