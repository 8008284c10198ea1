/** One workerd: started, asked about itself at its control socket, drained and ended. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import workerd from 'workerd';
import { CONTROL_SOCKET, HTTP_SOCKET } from './config.ts';

const POLL_MS = 50;
/** An answer of the control socket; loading a model takes longer, and so does a process that computes. */
const CONTROL_TIMEOUT_MS = 30_000;
/** A deadline comes before it: the longest that timers know. */
const LONGEST_TIMEOUT_MS = 2 ** 31 - 1;

/** Descriptors of the child: behind input, output and errors. */
const LISTENER_DESCRIPTOR = 3;

export interface ProcessOptions {
  configPath: string;
  /** File of the control socket. */
  controlPath: string;
  /** All of its environment. */
  environment: NodeJS.ProcessEnv;
  /** Descriptor of the shared listener. */
  listener: number;
}

interface ControlAnswer {
  status: number;
  body: string;
}

export class WorkerdProcess {
  readonly #child: ChildProcess;
  readonly #controlPath: string;
  /** Settles when the process has ended, with how. */
  readonly ended: Promise<string>;

  constructor({ configPath, controlPath, environment, listener }: ProcessOptions) {
    this.#controlPath = controlPath;
    this.#child = spawn(
      workerd.default,
      [
        ...['serve', configPath],
        ...['--socket-fd', `${HTTP_SOCKET}=${LISTENER_DESCRIPTOR}`],
        ...['--socket-addr', `${CONTROL_SOCKET}=unix:${controlPath}`],
      ],
      // A group of its own: Ctrl-C in a terminal is for the supervisor, which drains first.
      { env: environment, stdio: ['ignore', 'inherit', 'inherit', listener], detached: true },
    );
    this.ended = new Promise((resolve) => {
      this.#child.on('error', ({ message }) => resolve(message));
      this.#child.on('exit', (code, signal) => resolve(signal ?? `code ${code}`));
    });
  }

  get #hasEnded(): boolean {
    return this.#child.pid === undefined || this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  /** Loads the model. Resolves with undefined when it is ready, otherwise with the answer that says what is missing. */
  async ready(): Promise<string | undefined> {
    for (;;) {
      const answer = await this.#ask('GET', '/ready').catch(() => undefined);
      if (answer?.status === 200) return undefined;
      if (answer) return answer.body;
      if (this.#hasEnded) return `workerd ended: ${await this.ended}`;
      await sleep(POLL_MS);
    }
  }

  /** Refuses new requests, waits until those under way are done or the deadline passes, and ends the process. */
  async drain(deadline: AbortSignal): Promise<void> {
    await this.#ask('POST', '/drain').catch(() => undefined);
    while (!deadline.aborted && !this.#hasEnded) {
      const answer = await this.#ask('GET', '/drain').catch(() => undefined);
      if (answer && JSON.parse(answer.body).in_flight === 0) break;
      await sleep(POLL_MS);
    }
    // What is not counted, such as the last bytes on their way to a slow client, workerd finishes by itself; idle connections it closes.
    if (!deadline.aborted) deadline.addEventListener('abort', () => this.#child.kill('SIGKILL'), { once: true });
    await this.end(deadline.aborted ? 0 : LONGEST_TIMEOUT_MS);
  }

  /** Ends the process: workerd finishes what it can within `patienceMs`. */
  async end(patienceMs = 0): Promise<void> {
    if (this.#hasEnded) return;
    const exited = once(this.#child, 'exit');
    this.#child.kill(patienceMs > 0 ? 'SIGTERM' : 'SIGKILL');
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), patienceMs);
    await exited;
    clearTimeout(timer);
  }

  #ask(method: 'GET' | 'POST', path: string): Promise<ControlAnswer> {
    return new Promise((resolve, reject) => {
      const asked = request(
        { socketPath: this.#controlPath, method, path, headers: { host: 'localhost' }, agent: false },
        (response) => {
          let body = '';
          response.setEncoding('utf8');
          response.on('data', (chunk: string) => (body += chunk));
          response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
          response.on('error', reject);
        },
      );
      asked.setTimeout(CONTROL_TIMEOUT_MS, () => asked.destroy(new Error('no answer at the control socket')));
      asked.on('error', reject).end();
    });
  }
}
