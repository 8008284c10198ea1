/** Starts the whole service as `npm start` does, on a free port and with a bucket of its own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '..');

/** Bundling, starting workerd and storing the model on a machine that does other things as well. */
const START_TIMEOUT_MS = 90_000;

/** The line of a script that has started to serve, for people or as one of the log. */
const SERVING = /^serving |"message":"serving /m;

export interface Service {
  url: string;
  stop(): Promise<void>;
}

export interface Program {
  pid: number;
  /** All that it has written. */
  output(): string;
  signal(name: NodeJS.Signals): void;
  /** Its exit code, or the signal that ended it. */
  ended: Promise<number | NodeJS.Signals>;
  stop(): Promise<void>;
}

/** The smallest model of this repository, for whatever needs some model. */
export const QUICK_MODEL = 'nano';

/**
 * Serves the models of a folder. Rejects with the output of the process when it does not start. `args` go to `npm
 * start`.
 */
export async function serve(modelsFolder: string, args: readonly string[] = [], model = QUICK_MODEL): Promise<Service> {
  const port = await freePort();
  const state = await mkdtemp(join(tmpdir(), 'quicksilver-'));
  const program = await start('start.ts', [
    ...['--port', String(port), '--state', state, '--models', modelsFolder, '--model', model],
    ...args,
  ]).catch(async (error) => {
    await rm(state, { recursive: true, force: true });
    throw error;
  });
  const stop = async () => {
    await program.stop();
    await rm(state, { recursive: true, force: true });
  };
  return { url: `http://127.0.0.1:${port}`, stop };
}

/**
 * Runs a script of the repository. Resolves when it reports that it serves; rejects with its output if it does not
 * start.
 */
export async function start(
  script: string,
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<Program> {
  // As package.json does: without `--` Node itself looks for the file of --env-file.
  const child = spawn(process.execPath, ['--', `scripts/${script}`, ...args], {
    cwd: ROOT,
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk));
  const ended = once(child, 'exit').then(([code, signal]) => code ?? signal);
  const program: Program = {
    pid: child.pid!,
    ended,
    output: () => output,
    signal: (name: NodeJS.Signals) => child.kill(name),
    stop: async () => {
      child.kill('SIGTERM');
      await ended;
    },
  };
  try {
    await started(child, program.output);
  } catch (error) {
    await program.stop();
    throw error;
  }
  return program;
}

function started(child: ChildProcess, output: () => string): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (what: string) => reject(new Error(`the service ${what}:\n${output()}`));
    const timeout = setTimeout(() => fail('did not start in time'), START_TIMEOUT_MS);
    const read = () => {
      if (!SERVING.test(output())) return;
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

/** A port of this machine where nothing listens now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}
