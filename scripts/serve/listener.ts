/**
 * A listening socket that processes inherit: all of them accept from the one queue, so that a connection goes to a process that has
 * nothing to compute right now. (The kernel's own sharing of a port, SO_REUSEPORT, deals connections out blindly.)
 */
import { once } from 'node:events';
import { createServer, type Server } from 'node:net';

export interface Address {
  host: string;
  /** 0 is any free port. */
  port: number;
}

/** A process that begins later needs a listener of its own beside those that live. */
const canShare = process.platform === 'linux';

/** The port that is free at an address. Rejects when something listens there already. */
export async function claimPort({ host, port }: Address): Promise<number> {
  // Without sharing: what another process shares is taken all the same.
  const server = await listening({ host, port }, false);
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error(`${host} is not an address of TCP`);
  return address.port;
}

/** Calls `inherit` with the descriptor of a listener, which it must hand to processes before it returns; then this process lets it go. */
export async function withListener<T>(address: Address, inherit: (descriptor: number) => T): Promise<T> {
  const server = await listening(address, canShare);
  try {
    return inherit(descriptorOf(server));
  } finally {
    server.close();
  }
}

/** Nothing is accepted here: the caller closes the server before the event loop looks at it. */
function listening({ host, port }: Address, reusePort: boolean): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on('error', reject);
    server.listen({ host, port, reusePort }, () => resolve(server));
  });
}

/** Node has no public way to a listener's descriptor, and its child processes take descriptors only. */
function descriptorOf(server: Server): number {
  const { fd } = (server as unknown as { _handle?: { fd?: number } })._handle ?? {};
  if (fd === undefined || fd < 0) throw new Error('listeners cannot be handed over on this platform');
  return fd;
}
