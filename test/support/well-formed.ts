/** What every answer must satisfy, for any request. */
import { expect } from 'vitest';

/** Fails unless the answer is a success or a refusal in the format of the dialect, and no failure of the server. */
export async function expectWellFormed(path: string, response: Response): Promise<void> {
  // As bytes: workerd warns of text() where a type does not say that it is text.
  const text = new TextDecoder('utf-8', { fatal: true }).decode(await response.arrayBuffer());
  const told = `${response.status} ${text.slice(0, 500)}`;
  if (!response.headers.has('x-request-id')) throw new Error(`no request id: ${told}`);
  if (response.status >= 400) return expectError(path, response.status, text);
  if (response.status === 204) return expect(text).toBe('');
  const type = response.headers.get('content-type') ?? '';
  if (type.startsWith('text/event-stream')) expectEvents(path, text);
  else if (type.startsWith('application/x-ndjson')) expectLines(text);
  else if (type.startsWith('application/json')) JSON.parse(text);
  else throw new Error(`answered as ${type}: ${told}`);
}

function expectError(path: string, status: number, text: string): void {
  const body: unknown = JSON.parse(text);
  if (path.startsWith('/api/')) expect(body).toEqual({ error: expect.any(String) });
  else {
    const textOrNull = expect.toSatisfy((value: unknown) => value === null || typeof value === 'string');
    const error = { message: expect.any(String), type: expect.any(String), param: textOrNull, code: textOrNull };
    expect(body).toEqual({ error });
  }
  if (status >= 500) throw new Error(`a failure of the server: ${status} ${text.slice(0, 500)}`);
}

/** OpenAI's streams end with [DONE]; llama.cpp's last event says that it is the last. */
function expectEvents(path: string, text: string): void {
  const events = text.split('\n\n').filter((event) => event !== ':');
  expect(events.pop()).toBe('');
  const items = events.map((event) => event.slice('data: '.length));
  if (/^\/(infill|completions?)/.test(path)) expect(JSON.parse(items.at(-1)!)).toMatchObject({ stop: true });
  else expect(items.pop()).toBe('[DONE]');
  for (const [index, item] of items.entries()) {
    expect(events[index]).toMatch(/^data: \{/);
    expect(JSON.parse(item)).not.toHaveProperty('error');
  }
}

function expectLines(text: string): void {
  const lines = text.split('\n');
  expect(lines.pop()).toBe('');
  const items = lines.map((line) => JSON.parse(line) as { done: boolean });
  expect(items.map(({ done }) => done)).toEqual(items.map((_, index) => index === items.length - 1));
}
