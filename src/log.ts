/** Lines of the log beside those of requests: one JSON object a line, found by the id of its request. */

/** Causes behind causes beyond this say nothing new. */
const MAX_CAUSES = 4;

/** An error that nobody outside may see, with its stack and what caused it. */
export function logError(id: string, error: unknown): void {
  console.error(
    JSON.stringify({ time: new Date().toISOString(), level: 'error', id, ...described(error, MAX_CAUSES) }),
  );
}

export function logWarning(id: string, message: string): void {
  console.warn(JSON.stringify({ time: new Date().toISOString(), level: 'warn', id, message }));
}

/** What the service did of its own accord, which no request is the reason of alone. */
export function logInfo(message: string): void {
  console.log(JSON.stringify({ time: new Date().toISOString(), level: 'info', message }));
}

function described(error: unknown, causes: number): object {
  if (!(error instanceof Error)) return { message: String(error) };
  const { name, message, stack, cause } = error;
  return { name, message, stack, ...(cause !== undefined && causes > 0 && { cause: described(cause, causes - 1) }) };
}
