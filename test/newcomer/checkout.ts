/** A fresh clone of this repository, on a Node and an npm of its own, as one who has just found it has. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { freePort } from '../../support/serving.ts';

const ROOT = join(import.meta.dirname, '../..');

/** Ends what hangs. Installing and building take minutes on a machine that runs other tests as well. */
const COMMAND_TIMEOUT_MS = 900_000;

/** Versions of the packages `node` and `npm`. */
export interface Versions {
  node: string;
  npm: string;
}

export interface Running {
  output(): string;
  /** What Ctrl-C does in a terminal. Resolves when all of it has ended. */
  interrupt(): Promise<void>;
}

export class Checkout {
  /** Instead of the port of the README, which may be in use here. */
  readonly port: number;
  readonly #work: string;
  readonly #running = new Set<ChildProcess>();
  #removed: Promise<void> | undefined;

  private constructor(work: string, port: number) {
    this.#work = work;
    this.port = port;
  }

  /** An empty folder; `prepare` fills it. */
  static async create(): Promise<Checkout> {
    return new Checkout(await mkdtemp(join(tmpdir(), 'newcomer-')), await freePort());
  }

  /** Installs the versions and clones the last commit. */
  async prepare({ node, npm }: Versions): Promise<void> {
    const options = '--no-audit --no-fund --loglevel=error';
    await this.#output(`npm install --prefix ${this.#work}/node ${options} node@${node} npm@${npm}`, this.#work);
    await this.#output(`git clone --quiet '${ROOT}' quicksilver`, this.#work);
    const versions = await this.run('node --version && npm --version');
    if (versions.trim() !== `v${node}\n${npm}`) throw new Error(`not Node ${node} and npm ${npm}: ${versions}`);
  }

  /** The output of a command of the README. Rejects with it if the command fails. */
  run(command: string): Promise<string> {
    return this.#output(command, this.#folder);
  }

  /** Runs a command that serves. Resolves when it has written `ready`; rejects with its output if it does not. */
  async start(command: string, ready: RegExp): Promise<Running> {
    const { child, output } = this.#spawn(command, this.#folder);
    const ended = once(child, 'exit');
    try {
      await new Promise<void>((resolve, reject) => {
        const fail = (what: string) => reject(new Error(`${command} ${what}:\n${output()}`));
        const timeout = setTimeout(() => fail('did not serve in time'), COMMAND_TIMEOUT_MS);
        const read = () => {
          if (ready.test(output())) {
            clearTimeout(timeout);
            resolve();
          }
        };
        child.stdout?.on('data', read);
        child.stderr?.on('data', read);
        child.on('exit', (code) => {
          clearTimeout(timeout);
          fail(`exited with ${code}`);
        });
      });
    } catch (error) {
      signalGroup(child, 'SIGKILL');
      throw error;
    }
    const interrupt = async () => {
      signalGroup(child, 'SIGINT');
      await ended;
    };
    return { output, interrupt };
  }

  /** Ends what runs and removes all files. */
  remove(): Promise<void> {
    for (const child of this.#running) signalGroup(child, 'SIGKILL');
    // Processes that have been killed may still be writing.
    this.#removed ??= rm(this.#work, { recursive: true, force: true, maxRetries: 10 });
    return this.#removed;
  }

  get #folder(): string {
    return join(this.#work, 'quicksilver');
  }

  async #output(command: string, cwd: string): Promise<string> {
    const { child, output } = this.#spawn(command, cwd);
    const timeout = setTimeout(() => signalGroup(child, 'SIGKILL'), COMMAND_TIMEOUT_MS);
    const [code] = await once(child, 'close');
    clearTimeout(timeout);
    if (code !== 0) throw new Error(`${command} ended with ${code}:\n${output()}`);
    return output();
  }

  /** In a process group of its own, as a terminal does; with standard output and standard error in one text. */
  #spawn(command: string, cwd: string): { child: ChildProcess; output: () => string } {
    const child = spawn('bash', ['-c', command], {
      cwd,
      env: this.#environment(),
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#running.add(child);
    child.on('exit', () => this.#running.delete(child));
    let text = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (text += chunk));
    return { child, output: () => text };
  }

  /** Without what an npm script adds to it, without colours, and without an account at Cloudflare. */
  #environment(): NodeJS.ProcessEnv {
    const entries = Object.entries(process.env).filter(
      ([name]) => !/^(npm_|CLOUDFLARE_|CF_|NODE_OPTIONS$|FORCE_COLOR$)/.test(name),
    );
    const path = (process.env.PATH ?? '').split(delimiter).filter((folder) => !folder.includes('node_modules'));
    return {
      ...Object.fromEntries(entries),
      PATH: [join(this.#work, 'node/node_modules/.bin'), ...path].join(delimiter),
      XDG_CONFIG_HOME: join(this.#work, 'settings'),
      NO_COLOR: '1',
      // Tests and packages have filled npm's cache on this machine.
      npm_config_prefer_offline: 'true',
    };
  }
}

function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  process.kill(-child.pid, signal);
}
