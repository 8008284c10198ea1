/**
 * Listens, reports the address, and then sleeps forever. Node accepts from every listener that it has; this one belongs
 * to an event loop that never runs again, so that its connections stay in the queue for the processes that inherit the
 * socket. Ending the thread closes it.
 */
import { createServer, type Server } from 'node:net';
import { parentPort, workerData } from 'node:worker_threads';
import type { Address, Inherited, Listening } from './listener.ts';

const tell = (listening: Listening) => parentPort!.postMessage(listening);

const server = createServer();
server.on('error', ({ message }) => tell({ error: message }));
server.listen(workerData as Address | Inherited, () => {
  const address = server.address();
  if (address === null || typeof address === 'string') return tell({ error: 'this is no socket of TCP' });
  tell({ host: address.address, port: address.port, fd: descriptorOf(server) });
  // Before the event loop polls the listener for the first time.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT)), 0, 0);
});

/** Node has no public way to a listener's descriptor, and its child processes take descriptors only. */
function descriptorOf(server: Server): number {
  const { fd } = (server as unknown as { _handle?: { fd?: number } })._handle ?? {};
  if (fd === undefined || fd < 0) throw new Error('listeners cannot be handed over on this platform');
  return fd;
}
