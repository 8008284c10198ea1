/** The output of workerd as lines of the service's log: those of the worker, and those of the runtime. */
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { type LogLevel, log } from '../../src/log.ts';

/** What V8 writes of an exhausted heap, or a crash report, is about that long. Longer lines are cut. */
const MAX_TEXT = 8192;

/** workerd's names of levels. */
const LEVELS: Readonly<Record<string, LogLevel>> = {
  debug: 'info',
  log: 'info',
  info: 'info',
  warn: 'warn',
  warning: 'warn',
  error: 'error',
};

/** Writes each line of `stream` to the log of this process. */
export function relayLog(stream: Readable): void {
  createInterface({ input: stream, crlfDelay: Number.POSITIVE_INFINITY }).on('line', (line) => {
    if (line.trim() !== '') relayLine(line);
  });
}

/**
 * With structured logging workerd writes `{timestamp, level, message, …}`, where `message` is what the worker wrote to
 * its console. The worker writes lines of the log, which are kept unchanged. Lines that are not JSON come from a
 * failing runtime.
 */
function relayLine(line: string): void {
  const entry = objectOf(line);
  const message = typeof entry?.message === 'string' ? entry.message : line;
  const own = objectOf(message);
  if (own?.time !== undefined && own.level !== undefined) {
    const { time, level, ...fields } = own;
    log(levelOf(level), fields, String(time));
  } else {
    const source = typeof entry?.source === 'string' ? { source: entry.source } : {};
    log(levelOf(entry?.level), { message: message.slice(0, MAX_TEXT), ...source });
  }
}

function levelOf(name: unknown): LogLevel {
  return LEVELS[String(name).toLowerCase()] ?? 'error';
}

function objectOf(text: string): Record<string, unknown> | undefined {
  if (!text.startsWith('{')) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
