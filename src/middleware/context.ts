/** Values that middleware sets on the context of a request for the handlers. */
import type { Observation } from '../metrics/observation.ts';

declare module 'hono' {
  interface ContextVariableMap {
    /** Set by `observe`. */
    observation: Observation | undefined;
    /** Set by `timeLimit`; aborts with the ApiError that the client gets. */
    timeLimit: AbortSignal | undefined;
    /** Set by `timeLimit`: when that will be, in Unix milliseconds. */
    timeLimitEndsMs: number | undefined;
  }
}
