/** One workerd: started, asked about itself at its control socket, drained and ended. */
import { type ChildProcess, spawn } from 'node:child_process';
import { type IncomingMessage, request } from 'node:http';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import workerd from 'workerd';
import type { MetricSnapshot } from '../../src/metrics/registry.ts';
import { MANIFEST } from '../../src/weights/manifest.ts';
import { CONTROL_SOCKET, HTTP_SOCKET } from './config.ts';
import { relayLog } from './log-lines.ts';

const POLL_MS = 50;
/** An answer of the control socket; loading a model takes longer, and so does a process that computes. */
const CONTROL_TIMEOUT_MS = 30_000;
/** A request for metrics waits less; for a process that is busy longer, its last counts are used. */
const METRICS_TIMEOUT_MS = 2_000;

/** In which other processes accept what waits at the listener. */
const HAND_OVER_MS = 200;

/** Descriptors of the child, after input, output and errors. */
const LISTENER_DESCRIPTOR = 3;

export interface ProcessOptions {
  configPath: string;
  /** File of the control socket. */
  controlPath: string;
  /** All of its environment. */
  environment: NodeJS.ProcessEnv;
  /** Descriptor of the shared listener, or a file for a socket of this process only. */
  listener: number | string;
}

/** Why a process cannot answer. */
export interface Unready {
  /** For the log. */
  message: string;
  /** The process has ended, or its settings are wrong: waiting does not help. */
  isFinal: boolean;
  /** Models that the store does not have. */
  unknownModels: readonly string[];
}

export class WorkerdProcess {
  readonly #child: ChildProcess;
  readonly #controlPath: string;
  /** Settles when the process has ended, with how. */
  readonly ended: Promise<string>;

  constructor({ configPath, controlPath, environment, listener }: ProcessOptions) {
    this.#controlPath = controlPath;
    const isShared = typeof listener === 'number';
    this.#child = spawn(
      workerd.default,
      [
        ...['serve', configPath],
        ...(isShared
          ? ['--socket-fd', `${HTTP_SOCKET}=${LISTENER_DESCRIPTOR}`]
          : ['--socket-addr', `${HTTP_SOCKET}=unix:${listener}`]),
        ...['--socket-addr', `${CONTROL_SOCKET}=unix:${controlPath}`],
      ],
      // A group of its own: Ctrl-C in a terminal is for the supervisor, which drains first.
      { env: environment, stdio: ['ignore', 'pipe', 'pipe', ...(isShared ? [listener] : [])], detached: true },
    );
    relayLog(this.#child.stdout!);
    relayLog(this.#child.stderr!);
    this.ended = new Promise((resolve) => {
      this.#child.on('error', ({ message }) => resolve(message));
      this.#child.on('exit', (code, signal) => resolve(signal ?? `code ${code}`));
    });
  }

  /** Undefined when the process could not be started. */
  get pid(): number | undefined {
    return this.#child.pid;
  }

  get #hasEnded(): boolean {
    return this.#child.pid === undefined || this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  /** Loads the default model. Resolves with undefined when it is ready, and the store knows the others. */
  async ready(): Promise<Unready | undefined> {
    for (;;) {
      const answer = await this.#ask('GET', '/ready').catch(() => undefined);
      if (answer) return unready(answer);
      if (this.#hasEnded) {
        return { message: `workerd ended: ${await this.ended}`, isFinal: true, unknownModels: [] };
      }
      await sleep(POLL_MS);
    }
  }

  /** What the process has counted. Rejects when it does not answer soon. */
  async metrics(): Promise<MetricSnapshot[]> {
    return JSON.parse((await this.#ask('GET', '/metrics', METRICS_TIMEOUT_MS)).body);
  }

  /** Refuses new requests, waits until open ones are done or the deadline passes, and ends the process. */
  async drain(deadlineMs: number): Promise<void> {
    await this.#ask('POST', '/drain').catch(() => undefined);
    while (performance.now() < deadlineMs && !this.#hasEnded) {
      const answer = await this.#ask('GET', '/drain').catch(() => undefined);
      if (answer && JSON.parse(answer.body).in_flight === 0) break;
      await sleep(POLL_MS);
    }
    // workerd itself finishes what is not counted, such as the last bytes to a slow client; it closes idle connections.
    await this.end(deadlineMs);
  }

  /**
   * Leaves new connections to the other processes of the same listener, finishes open requests, and ends the process.
   * Resolves with its counts up to the last request, if they are known.
   */
  async retire(deadlineMs: number): Promise<MetricSnapshot[] | undefined> {
    // The head of this answer comes at once, its body when no request is open any more: after the signal to end,
    // workerd accepts no new requests.
    const answer = await this.#request('GET', '/metrics-at-end', CONTROL_TIMEOUT_MS).catch(() => undefined);
    const metrics = answer && text(answer).catch(() => undefined);
    // After the signal to end, workerd closes connections from which it has read nothing yet. So the process is stopped
    // until the others have accepted all waiting connections, and gets the signal to end first when it continues.
    this.#child.kill('SIGSTOP');
    await sleep(HAND_OVER_MS);
    this.#child.kill('SIGTERM');
    this.#child.kill('SIGCONT');
    await this.end(deadlineMs);
    const last = await metrics;
    return last ? JSON.parse(last) : undefined;
  }

  /**
   * Ends the process: workerd finishes what it has, until the deadline (on the clock of `performance`) at the latest.
   */
  async end(deadlineMs = 0): Promise<void> {
    if (this.#hasEnded) return;
    const patienceMs = Math.max(0, deadlineMs - performance.now());
    this.#child.kill(patienceMs > 0 ? 'SIGTERM' : 'SIGKILL');
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), patienceMs);
    await this.ended;
    clearTimeout(timer);
  }

  async #ask(method: 'GET' | 'POST', path: string, timeoutMs = CONTROL_TIMEOUT_MS) {
    const response = await this.#request(method, path, timeoutMs);
    return { status: response.statusCode ?? 0, body: await text(response) };
  }

  /** Resolves with the head of the answer. */
  #request(method: 'GET' | 'POST', path: string, timeoutMs: number): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const asked = request(
        { socketPath: this.#controlPath, method, path, headers: { host: 'localhost' }, agent: false },
        resolve,
      );
      asked.setTimeout(timeoutMs, () => asked.destroy(new Error('no answer at the control socket')));
      asked.on('error', reject).end();
    });
  }
}

/** From an answer of /ready. A model without a manifest means a mistake in its name, for each of the models. */
function unready({ status, body }: { status: number; body: string }): Unready | undefined {
  const { models = [], error }: ReadyBody = JSON.parse(body);
  const unknownModels = models
    .filter(({ reason, files }) => reason === 'missing' && files?.includes(MANIFEST))
    .map(({ id }) => id);
  if (status === 200 && unknownModels.length === 0) return undefined;
  return { message: body, isFinal: error?.code === 'misconfigured', unknownModels };
}

/** The fields that are read from an answer of /ready. */
interface ReadyBody {
  models?: { id: string; reason?: string; files?: string[] }[];
  error?: { code?: string };
}
