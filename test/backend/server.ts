/** A backend on a port of this machine that behaves as a test tells it, including faults. */
import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

export interface Received {
  path: string;
  headers: IncomingHttpHeaders;
  body: string;
  /** Settles when the connection of the answer is closed, by either side. */
  closed: Promise<unknown>;
}

/** Answers request number `n`, from 1. */
export type Behaviour = (response: ServerResponse, n: number, request: Received) => void | Promise<void>;

export interface Server {
  /** With the path `/v1`, as base URLs have it. */
  url: string;
  received: Received[];
  close(): Promise<void>;
}

export async function serverThat(behave: Behaviour): Promise<Server> {
  const received: Received[] = [];
  const server = createServer(async (request, response) => {
    const closed = once(response, 'close');
    let body = '';
    for await (const chunk of request) body += chunk;
    const entry = { path: request.url ?? '', headers: request.headers, body, closed };
    received.push(entry);
    await behave(response, received.length, entry);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/v1`,
    received,
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

/** Formatted as no serialiser of ours would, so that a rewritten body shows. */
export const ANSWER =
  '{ "id":"chat-1",\n  "choices": [ {"index":0, "message":{"role":"assistant","content":"hé"}} ] }\n';

export const STREAM = [
  ': comment\r\n\r\n',
  'data: {"choices":[{"delta":{"content":"h"}}]}\n\n',
  'event: x\ndata: {"choices":[{"delta":{"content":"é 😀"}}]}\r\n\r\n',
  'data: [DONE]\n\n',
];

export function answerJson(response: ServerResponse, text = ANSWER, headers: Record<string, string> = {}): void {
  response.writeHead(200, { 'content-type': 'application/json', ...headers }).end(text);
}

export function refuse(response: ServerResponse, status: number, headers: Record<string, string> = {}): void {
  const error = { message: `said ${status}`, type: 'x', param: null, code: null };
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify({ error }));
}

/** Opens an event stream and writes the parts, with a pause after each. */
export async function writeEvents(response: ServerResponse, parts: readonly (string | Uint8Array)[], pauseMs = 2) {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  for (const part of parts) {
    response.write(part);
    await sleep(pauseMs);
  }
}

export const stallForever = () => {};
