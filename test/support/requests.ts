/** Requests as clients send them, and what is read from their answers. */

import type { createApp } from '../../src/app.ts';
import type { ErrorBody } from '../../src/http/errors.ts';

type App = ReturnType<typeof createApp>;

export function post(app: App, path: string, body: unknown, init: RequestInit = {}): Promise<Response> {
  return Promise.resolve(
    app.request(path, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: typeof body === 'string' ? body : JSON.stringify(body),
      ...init,
    }),
  );
}

/** The error of an answer, with its status. */
export async function errorOf(response: Response): Promise<ErrorBody['error'] & { status: number }> {
  const body = (await response.json()) as ErrorBody;
  return { status: response.status, ...body.error };
}

/** The payloads of the `data:` events of a stream, in order; `[DONE]` is unchanged. */
export async function eventsOf<T>(response: Response): Promise<(T | '[DONE]')[]> {
  // A comment keeps a slow stream alive.
  const events = (await response.text()).split('\n\n').filter((event) => event !== ':');
  if (events.pop() !== '') throw new Error('the stream does not end with a whole event');
  return events.map((event) => {
    if (!event.startsWith('data: ')) throw new Error(`not a data event: ${event}`);
    const data = event.slice('data: '.length);
    return data === '[DONE]' ? data : (JSON.parse(data) as T);
  });
}
