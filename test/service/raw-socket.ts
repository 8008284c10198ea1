/** HTTP written by hand, to say what no client would. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** Far more than any answer takes; a connection that is still open then hangs. */
const HANG_MS = 20_000;

interface ExchangeOptions {
  /** Pause after each part. */
  pauseMs?: number;
  /** What is done when all is sent: wait for the answer, say that nothing follows, or break off. */
  after?: 'wait' | 'end' | 'destroy';
}

/**
 * Sends the parts over one connection and gives what came back by the time the server closed it, with the status of the
 * first answer; undefined when none came. Rejects when the connection is still open after 20 seconds.
 */
export async function exchange(
  url: string,
  parts: readonly (string | Uint8Array)[],
  { pauseMs = 0, after = 'wait' }: ExchangeOptions = {},
): Promise<{ status: number | undefined; text: string }> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  const received: Buffer[] = [];
  let failure: Error | undefined;
  const closed = new Promise<void>((resolve) => socket.on('close', () => resolve()));
  socket.on('data', (bytes) => received.push(bytes));
  // The server may close while parts are still being written; what it said before is its answer.
  socket.on('error', () => {});
  socket.setTimeout(HANG_MS, () => {
    failure = new Error(`the connection hangs after: ${Buffer.concat(received)}`);
    socket.destroy();
  });
  await once(socket, 'connect');
  for (const part of parts) {
    if (socket.destroyed) break;
    socket.write(part);
    if (pauseMs > 0) await Promise.race([sleep(pauseMs), closed]);
  }
  if (after === 'end') socket.end();
  if (after === 'destroy') socket.destroy();
  await closed;
  if (failure) throw failure;
  const text = Buffer.concat(received).toString();
  const status = /^HTTP\/1\.1 (\d{3})/.exec(text)?.[1];
  return { status: status === undefined ? undefined : Number(status), text };
}

/** The head of a POST that asks the server to close the connection after its answer. */
export function head(path: string, headers: Record<string, string | number>): string {
  const all = { host: '127.0.0.1', 'content-type': 'application/json', connection: 'close', ...headers };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  return `POST ${path} HTTP/1.1\r\n${lines.join('')}\r\n`;
}

/** A part of a body with `transfer-encoding: chunked`. */
export function chunk(bytes: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')]);
}

export const LAST_CHUNK = '0\r\n\r\n';
