import { Readable } from 'node:stream';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { relayLog } from '../../scripts/serve/log-lines.ts';

afterEach(() => {
  vi.restoreAllMocks();
});

/** The log lines for the output of workerd. */
async function relayed(text: string): Promise<object[]> {
  const lines: string[] = [];
  for (const method of ['log', 'warn', 'error'] as const) {
    vi.spyOn(console, method).mockImplementation((line: string) => lines.push(line));
  }
  const stream = Readable.from([text.slice(0, 7), text.slice(7)]);
  relayLog(stream);
  await new Promise((resolve) => stream.on('close', resolve));
  await expect.poll(() => lines.length).toBeGreaterThan(0);
  return lines.map((line) => JSON.parse(line));
}

const console_ = (level: string, message: string) => `${JSON.stringify({ timestamp: 1, level, message })}\n`;

describe('what workerd writes', () => {
  it('should stay as it is where it is a line of the worker', async () => {
    const line = { time: '2026-11-28T00:00:00.000Z', level: 'warn', id: 'a', message: 'careful' };
    expect(await relayed(console_('log', JSON.stringify(line)))).toEqual([line]);
  });

  it('should have a time and a level where it is anything else', async () => {
    const text = [
      console_('log', 'hello'),
      console_('warn', '{"a": 1}'),
      '{"timestamp":"1","level":"error","source":"a/b.c++:12","message":"Uncaught"}\n',
      '\n',
      '#\n',
      '{ no JSON\n',
      '{"level":"fatal"}\n',
      'x'.repeat(20_000),
    ];
    const time = expect.stringMatching(/Z$/);
    expect(await relayed(text.join(''))).toEqual([
      { time, level: 'info', message: 'hello' },
      { time, level: 'warn', message: '{"a": 1}' },
      { time, level: 'error', message: 'Uncaught', source: 'a/b.c++:12' },
      { time, level: 'error', message: '#' },
      { time, level: 'error', message: '{ no JSON' },
      { time, level: 'error', message: '{"level":"fatal"}' },
      { time, level: 'error', message: 'x'.repeat(8192) },
    ]);
  });
});
