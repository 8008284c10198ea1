/** Lines of the log besides those of requests: one JSON object per line, with the id of its request. */

export type LogLevel = 'info' | 'warn' | 'error';

/** Causes nested deeper than this add nothing. */
const MAX_CAUSES = 4;

/** Where the platform takes each level: standard output for information, standard error for warnings and errors. */
const WRITERS: Readonly<Record<LogLevel, (line: string) => void>> = {
  info: (line) => console.log(line),
  warn: (line) => console.warn(line),
  error: (line) => console.error(line),
};

/** Writes a line with the time, that of now unless another is given, the level and `fields`. */
export function log(level: LogLevel, fields: Readonly<Record<string, unknown>>, time = new Date().toISOString()): void {
  WRITERS[level](JSON.stringify({ time, level, ...fields }));
}

/** An error that clients must not see, with its stack and its causes. */
export function logError(id: string, error: unknown): void {
  log('error', { id, ...described(error, MAX_CAUSES) });
}

export function logWarning(id: string, message: string): void {
  log('warn', { id, message });
}

/** What the service did on its own, not for a single request. */
export function logInfo(message: string): void {
  log('info', { message });
}

function described(error: unknown, causes: number): Record<string, unknown> {
  if (!(error instanceof Error)) return { message: String(error) };
  const { name, message, stack, cause } = error;
  return { name, message, stack, ...(cause !== undefined && causes > 0 && { cause: described(cause, causes - 1) }) };
}
