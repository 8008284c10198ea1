/**
 * Which environment variables the worker gets: its settings, and the secrets that `BACKENDS` names. Nothing else of the
 * environment.
 */
import { BACKEND_SETTING_NAMES, BACKENDS } from '../../src/backend/gateway.ts';

/** Models of a service that names none, the default one first; wrangler.toml has the same for Cloudflare. */
export const DEFAULT_MODELS = 'small,nano';

/** Values by name; some settings are listed here so that TypeScript checks the names. */
export type WorkerVariables = Record<string, string> & { MODEL: string; API_KEYS?: string; BACKENDS?: string };

/** The variables that are set. */
export function workerVariables(
  environment: Readonly<Record<string, string | undefined>>,
  settings: readonly string[],
): WorkerVariables {
  const names = [...settings, ...BACKEND_SETTING_NAMES, ...secretNames(environment[BACKENDS])];
  const variables = names.flatMap((name) => {
    const value = environment[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  return { ...Object.fromEntries(variables), MODEL: environment.MODEL || DEFAULT_MODELS };
}

/** Errors in `BACKENDS` are reported by the worker, at `/ready`. */
export function secretNames(backends: string | undefined): string[] {
  try {
    return Object.values(JSON.parse(backends ?? '{}')).flatMap((backend) => {
      const key = (backend as { key?: unknown } | null)?.key;
      return typeof key === 'string' ? [key] : [];
    });
  } catch {
    return [];
  }
}
