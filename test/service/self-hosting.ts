/** What tests of the self-hosted service share: programs of `scripts/serve.ts`, and requests to them. */
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { type IncomingMessage, request } from 'node:http';
import { MODELS } from '../../support/models-folder.ts';
import { type Program, QUICK_MODEL, start } from '../../support/serving.ts';

/** One slot a step, so that a completion takes long enough to be observed. */
export const LONG = {
  model: 'nano',
  prompt: 'const values = [1, 2, ',
  max_tokens: 96,
  reveal_threshold: 1,
  stream: true,
};
export const SHORT = { ...LONG, max_tokens: 4, stream: false };

/** Serves the quick model of this repository on a free port. */
export function startServe(
  args: readonly string[] = [],
  environment: Readonly<Record<string, string>> = {},
): Promise<Program> {
  return start('serve.ts', ['--port', '0', '--models', MODELS, ...args], { MODEL: QUICK_MODEL, ...environment });
}

export function urlOf({ output }: Pick<Program, 'output'>): string {
  return /http:\/\/127\.0\.0\.1:\d+/.exec(output())![0];
}

/** Each on a connection of its own, as clients come. */
export function post(url: string, body: object, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(`${url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', connection: 'close', ...headers },
    body: JSON.stringify(body),
  });
}

/** Sends a request but for the end of its body; the function that resolves sends the rest, and gives the answer. */
export async function beginPost(url: string, body: object): Promise<() => Promise<IncomingMessage>> {
  const asked = request(`${url}/v1/completions`, { method: 'POST', headers: { 'content-type': 'application/json' } });
  const answered = once(asked, 'response');
  // It is looked at when the rest is sent.
  answered.catch(() => {});
  const bytes = JSON.stringify(body);
  await new Promise((resolve) => asked.write(bytes.slice(0, 5), resolve));
  return async () => {
    asked.end(bytes.slice(5));
    const [answer] = await answered;
    return answer;
  };
}

/** Process ids of the workerd of a supervisor. */
export async function workersOf({ pid }: Pick<Program, 'pid'>): Promise<number[]> {
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8');
  return children.split(' ').filter(Boolean).map(Number);
}

/** Whether a process runs; a zombie does not. */
export async function isRunning(pid: number): Promise<boolean> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  return stat !== undefined && !/\) Z /.test(stat);
}

/** The samples of /metrics by name and labels. */
export async function metricsOf(url: string, headers: Record<string, string> = {}): Promise<Map<string, number>> {
  const response = await fetch(`${url}/metrics`, { headers: { connection: 'close', ...headers } });
  if (response.status !== 200) throw new Error(`/metrics answered ${response.status}`);
  const lines = (await response.text()).split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ')))]),
  );
}
