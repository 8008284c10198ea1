/**
 * A listening socket that lives as long as the supervisor, and that all processes inherit, also later ones. They accept
 * from its single queue, so that a connection goes to an idle process (the kernel's own sharing of a port,
 * SO_REUSEPORT, distributes connections blindly), and waits there instead of being refused while a process is replaced.
 */
import { once } from 'node:events';
import { createServer } from 'node:net';
import { Worker } from 'node:worker_threads';

export interface Address {
  host: string;
  /** 0 is any free port. */
  port: number;
}

/** A socket that this process was given already listening, by its descriptor. */
export interface Inherited {
  fd: number;
}

/** What the thread answers. */
export type Listening = (Address & Inherited) | { error: string };

export class Listener {
  readonly address: Address;
  /** To be handed to child processes. */
  readonly fd: number;
  readonly #thread: Worker;

  /** Rejects when the address cannot be listened at, as when something listens there already. */
  static async open(at: Address | Inherited): Promise<Listener> {
    const thread = new Worker(new URL('./listener-thread.ts', import.meta.url), { workerData: at });
    const [listening] = (await once(thread, 'message')) as [Listening];
    if (!('error' in listening)) return new Listener(listening, thread);
    await thread.terminate();
    throw new Error(listening.error);
  }

  private constructor({ host, port, fd }: Address & Inherited, thread: Worker) {
    this.address = { host, port };
    this.fd = fd;
    this.#thread = thread;
    thread.unref();
  }

  /** Closes the socket here; it stays open in the processes that have inherited it. */
  async close(): Promise<void> {
    await this.#thread.terminate();
  }
}

/** A port that is free at an address. Rejects when something listens there already. */
export async function claimPort({ host, port }: Address): Promise<number> {
  const server = createServer().listen({ host, port });
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error(`${host} is not an address of TCP`);
  return address.port;
}

/** systemd's first descriptor: https://www.freedesktop.org/software/systemd/man/latest/sd_listen_fds.html */
const FIRST_INHERITED = 3;

/**
 * The socket that systemd, or another program with the same protocol, passes to this process. Throws Error if there are
 * several.
 */
export function inheritedListener(environment: NodeJS.ProcessEnv, pid: number): Inherited | undefined {
  const { LISTEN_PID, LISTEN_FDS } = environment;
  if (LISTEN_FDS === undefined || Number(LISTEN_PID) !== pid) return undefined;
  if (LISTEN_FDS !== '1') throw new Error(`one socket can be handed over, not ${LISTEN_FDS}`);
  return { fd: FIRST_INHERITED };
}
