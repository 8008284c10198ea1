/** The supervisor's socket: what workers ask of it (src/supervisor.ts). */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { text } from 'node:stream/consumers';
import type { MetricSnapshot } from '../../src/metrics/registry.ts';
import type { RateLimitVerdict } from '../../src/middleware/rate-limit.ts';
import { COUNT_REQUEST, METRICS_OF_ALL } from '../../src/supervisor.ts';

export interface Answers {
  metrics(): Promise<MetricSnapshot[]>;
  count(client: string): Promise<RateLimitVerdict>;
}

/** Answers at the socket of a file until the server is closed. */
export async function answerWorkers(path: string, answers: Answers): Promise<Server> {
  const server = createServer((request, response) => {
    answer(request, response, answers).catch((error: Error) => response.destroy(error));
  }).listen(path);
  await once(server, 'listening');
  return server;
}

async function answer(request: IncomingMessage, response: ServerResponse, answers: Answers): Promise<void> {
  const found = await answerTo(request, answers);
  response.writeHead(found === undefined ? 404 : 200, { 'content-type': 'application/json' });
  response.end(JSON.stringify(found));
}

async function answerTo(request: IncomingMessage, { metrics, count }: Answers): Promise<unknown> {
  switch (`${request.method} ${request.url}`) {
    case `GET ${METRICS_OF_ALL}`:
      return metrics();
    case `POST ${COUNT_REQUEST}`:
      return count(JSON.parse(await text(request)).key);
    default:
      return undefined;
  }
}
