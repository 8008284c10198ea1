/** Sends a request along its route: attempts, waits between them, and the next backend when one fails. */
import { type Answer, type AttemptOptions, attempt, type Call } from './attempt.ts';
import { Breaker } from './breaker.ts';
import type { Backend } from './config.ts';
import { BackendFailure } from './errors.ts';
import type { StreamEnding } from './relay.ts';
import { isRetryable, retryDelayMs } from './retry.ts';
import type { Route, Target } from './routing.ts';

/** The longest wait for a backend within a request; if it asks for a longer one, it gets no requests for that time. */
const MOMENT_MS = 1_000;

/** The longest time without requests after one hint; a backend that asks for days is still tried now and then. */
const MAX_PAUSE_MS = 3_600_000;

/**
 * Part of a request's time limit that is reserved for each engine that may have to answer after a backend; less if
 * little is left.
 */
const RESERVE_MS = 5_000;

export interface ForwardOptions {
  /** The client; its abort reaches the backend and ends every wait. */
  signal: AbortSignal;
  /** Called with each failed attempt. */
  log: (failure: BackendFailure) => void;
  /** When the request must be answered, in Unix milliseconds, if it has a limit besides those of the backends. */
  endsMs?: number | undefined;
  /** Whether the local model answers when all backends fail, and needs time for it. */
  hasStandIn?: boolean;
  /** Called when a stream that was answered ends; a whole answer has ended when it is returned. */
  onStreamEnd?: (ending: StreamEnding) => void;
}

/** Which backend answered, if any, and after how many attempts over all backends. */
export type ForwardOutcome = { backend: string; attempts: number } & (
  | { type: 'answered'; answer: Answer }
  | { type: 'failed'; failure: BackendFailure }
);

interface Environment {
  fetch: (url: string, init: RequestInit) => Promise<Response>;
  /** In [0, 1); spreads the retries. */
  random: () => number;
}

const PLATFORM: Environment = { fetch: (url, init) => fetch(url, init), random: Math.random };

/**
 * When a backend must have begun to answer and when its stream must end, in Unix milliseconds, and which limit that is.
 */
type Budget = Pick<AttemptOptions, 'openByMs' | 'deadlineMs' | 'isRequestBound'>;

/** Forwards requests, and remembers which backends fail or have asked for a wait. */
export class Forwarder {
  readonly #breakers = new Map<string, Breaker>();
  readonly #pauses = new Map<string, { untilMs: number; failure: BackendFailure }>();
  readonly #environment: Environment;

  constructor(environment: Partial<Environment> = {}) {
    this.#environment = { ...PLATFORM, ...environment };
  }

  /**
   * Asks the backends of the route in turn. If all fail, the failure is that of the first one, which the request was
   * meant for. A request that is itself invalid is not sent to the next backend.
   * @throws the client's abort reason when it has disconnected.
   */
  async forward(route: Route, call: Call, options: ForwardOptions): Promise<ForwardOutcome> {
    let attempts = 0;
    let first: BackendFailure | undefined;
    for (const [index, target] of route.chain.entries()) {
      const successors = route.chain.length - 1 - index + (options.hasStandIn ? 1 : 0);
      const budget = budgetOf(target.backend, options.endsMs, successors);
      try {
        const answer = await this.#ask(target, call, options, budget, () => attempts++);
        return { type: 'answered', backend: target.backend.name, attempts, answer };
      } catch (error) {
        if (!(error instanceof BackendFailure)) throw error;
        if (error.isClientFault) return { type: 'failed', backend: target.backend.name, attempts, failure: error };
        first ??= error;
      }
    }
    if (first === undefined) throw new Error('a route has at least one backend');
    return { type: 'failed', backend: first.backend, attempts, failure: first };
  }

  /** Asks one backend, as often as its settings and its time allow. */
  async #ask(
    target: Target,
    call: Call,
    options: ForwardOptions,
    budget: Budget,
    onAttempt: () => void,
  ): Promise<Answer> {
    const { backend } = target;
    checkSize(backend, call);
    this.#checkPause(backend);
    for (let retry = 1; ; retry++) {
      options.signal.throwIfAborted();
      try {
        return await this.#attempt(target, call, budget, options, onAttempt);
      } catch (error) {
        if (!(error instanceof BackendFailure)) throw error;
        options.log(error);
        this.#heed(error);
        if (!isRetryable(error) || retry > backend.retries) throw error;
        // A client that knows the wait can decide better than we can whether it has that time.
        if ((error.retryAfterMs ?? 0) > MOMENT_MS) throw error;
        const delayMs = retryDelayMs(retry, backend.retry_delay_ms, error, this.#environment.random());
        if (Date.now() + delayMs >= budget.openByMs) throw error;
        await wait(delayMs, options.signal);
      }
    }
  }

  /** Stops sending requests to a backend that asks for a long wait. */
  #heed(failure: BackendFailure): void {
    const { backend, kind, retryAfterMs = 0, isClientFault } = failure;
    if (kind !== 'refused' || isClientFault || retryAfterMs <= MOMENT_MS) return;
    this.#pauses.set(backend, { untilMs: Date.now() + Math.min(retryAfterMs, MAX_PAUSE_MS), failure });
  }

  /** Throws the last failure of a backend during the wait that it asked for. */
  #checkPause({ name }: Backend): void {
    const pause = this.#pauses.get(name);
    if (pause === undefined) return;
    const retryAfterMs = pause.untilMs - Date.now();
    if (retryAfterMs > 0) throw pause.failure.again(retryAfterMs);
    this.#pauses.delete(name);
  }

  async #attempt(
    target: Target,
    call: Call,
    budget: Budget,
    { signal, log, onStreamEnd }: ForwardOptions,
    onAttempt: () => void,
  ): Promise<Answer> {
    const breaker = this.#breakerOf(target.backend);
    const permit = breaker.admit();
    if (permit === undefined) {
      throw new BackendFailure(target.backend.name, 'circuit_open', 'the circuit is open', {
        retryAfterMs: breaker.waitMs(),
      });
    }
    onAttempt();
    const report = (error: unknown) => {
      if (!(error instanceof BackendFailure) || error.isOurLimit) permit.abandoned();
      else if (error.countsAsFailure) permit.failed();
      else permit.succeeded();
    };
    try {
      const answer = await attempt(target, call, {
        fetch: this.#environment.fetch,
        signal,
        ...budget,
        // A stream has shown only at its end whether the backend is well.
        onStreamEnd: (ending) => {
          if (ending.type === 'completed') permit.succeeded();
          else if (ending.type === 'cancelled') permit.abandoned();
          else {
            report(ending.error);
            if (ending.error instanceof BackendFailure) {
              log(ending.error);
              this.#heed(ending.error);
            }
          }
          onStreamEnd?.(ending);
        },
      });
      if (!(answer.body instanceof ReadableStream)) permit.succeeded();
      return answer;
    } catch (error) {
      report(error);
      throw error;
    }
  }

  #breakerOf({ name, breaker_failures, breaker_open_ms }: Backend): Breaker {
    let breaker = this.#breakers.get(name);
    if (breaker === undefined) {
      breaker = new Breaker({ failures: breaker_failures, openMs: breaker_open_ms });
      this.#breakers.set(name, breaker);
    }
    return breaker;
  }
}

/**
 * Time that a request may spend on a backend: the backend's own total limit and, if the request has a limit, at most
 * that limit minus the time reserved for `successors`. A stream that has begun needs no successor any more.
 */
function budgetOf({ total_timeout_ms }: Backend, endsMs: number | undefined, successors: number): Budget {
  const nowMs = Date.now();
  const totalMs = nowMs + total_timeout_ms;
  if (endsMs === undefined) return { openByMs: totalMs, deadlineMs: totalMs, isRequestBound: false };
  const leftMs = endsMs - nowMs;
  const reservedMs = successors * Math.min(RESERVE_MS, leftMs / (successors + 1));
  return {
    openByMs: Math.min(totalMs, endsMs - reservedMs),
    deadlineMs: Math.min(totalMs, endsMs),
    isRequestBound: endsMs < totalMs,
  };
}

/** Refuses a body that is larger than this backend is sent, as the backend itself would: the request is at fault. */
function checkSize(backend: Backend, { text }: Call): void {
  const bytes = new TextEncoder().encode(text).length;
  if (bytes <= backend.max_request_bytes) return;
  throw new BackendFailure(backend.name, 'refused', `is not sent ${bytes} bytes`, {
    status: 413,
    detail: `The body is larger than the ${backend.max_request_bytes} bytes that '${backend.name}' is sent.`,
  });
}

/** Throws the signal's reason if it aborts in the meantime. */
function wait(delayMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', onAbort);
      resolve();
    }, delayMs);
    signal.addEventListener('abort', onAbort, { once: true });
  });
}
