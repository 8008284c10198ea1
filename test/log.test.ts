import { afterEach, describe, expect, it, vi } from 'vitest';
import { logError, logWarning } from '../src/log.ts';

afterEach(() => {
  vi.restoreAllMocks();
});

describe('the log', () => {
  it('should have an error in one line, with its stack and its causes', () => {
    const write = vi.spyOn(console, 'error').mockImplementation(() => {});
    logError('id-1', new TypeError('what\nhappened', { cause: new Error('why', { cause: 'whence' }) }));
    const line = write.mock.calls[0]![0] as string;
    expect(line).not.toContain('\n');
    expect(JSON.parse(line)).toEqual({
      time: expect.stringMatching(/Z$/),
      level: 'error',
      id: 'id-1',
      name: 'TypeError',
      message: 'what\nhappened',
      stack: expect.stringContaining('log.test.ts'),
      cause: { name: 'Error', message: 'why', stack: expect.any(String), cause: { message: 'whence' } },
    });
  });

  it('should end with an error that is its own cause', () => {
    const write = vi.spyOn(console, 'error').mockImplementation(() => {});
    const error = new Error('loop');
    error.cause = error;
    logError('id-1', error);
    expect(write).toHaveBeenCalledOnce();
  });

  it('should have a warning in one line', () => {
    const write = vi.spyOn(console, 'warn').mockImplementation(() => {});
    logWarning('id-1', 'careful');
    expect(JSON.parse(write.mock.calls[0]![0] as string)).toMatchObject({
      level: 'warn',
      id: 'id-1',
      message: 'careful',
    });
  });
});
