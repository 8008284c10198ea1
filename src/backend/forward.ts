/** Carries a request along its route: attempts, waits between them, and the next backend when one gives up. */
import { type Answer, attempt, type Call } from './attempt.ts';
import { Breaker } from './breaker.ts';
import type { Backend } from './config.ts';
import { BackendFailure } from './errors.ts';
import { isRetryable, retryDelayMs } from './retry.ts';
import type { Route, Target } from './routing.ts';

export interface ForwardOptions {
  /** The client; its abort reaches the backend and ends every wait. */
  signal: AbortSignal;
  /** Told of each failed attempt. */
  log: (failure: BackendFailure) => void;
}

/** Who answered, or did not, and after how many attempts over all backends. */
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

/** Forwards requests, and remembers which backends are in trouble. */
export class Forwarder {
  readonly #breakers = new Map<string, Breaker>();
  readonly #environment: Environment;

  constructor(environment: Partial<Environment> = {}) {
    this.#environment = { ...PLATFORM, ...environment };
  }

  /**
   * Asks the backends of the route in turn. When all fail the failure is that of the first, which is the one that the
   * request was meant for. A request that is at fault itself is not carried further.
   * @throws the client's abort reason when it has gone.
   */
  async forward(route: Route, call: Call, options: ForwardOptions): Promise<ForwardOutcome> {
    let attempts = 0;
    let first: BackendFailure | undefined;
    for (const target of route.chain) {
      try {
        const answer = await this.#ask(target, call, options, () => attempts++);
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
  async #ask(target: Target, call: Call, options: ForwardOptions, onAttempt: () => void): Promise<Answer> {
    const { backend } = target;
    checkSize(backend, call);
    const deadlineMs = Date.now() + backend.total_timeout_ms;
    for (let retry = 1; ; retry++) {
      options.signal.throwIfAborted();
      try {
        return await this.#attempt(target, call, deadlineMs, options, onAttempt);
      } catch (error) {
        if (!(error instanceof BackendFailure)) throw error;
        options.log(error);
        if (!isRetryable(error) || retry > backend.retries) throw error;
        const delayMs = retryDelayMs(retry, backend.retry_delay_ms, error, this.#environment.random());
        if (Date.now() + delayMs >= deadlineMs) throw error;
        await wait(delayMs, options.signal);
      }
    }
  }

  async #attempt(
    target: Target,
    call: Call,
    deadlineMs: number,
    { signal, log }: ForwardOptions,
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
      if (!(error instanceof BackendFailure)) permit.abandoned();
      else if (error.isTrouble) permit.failed();
      else permit.succeeded();
    };
    try {
      const answer = await attempt(target, call, {
        fetch: this.#environment.fetch,
        signal,
        deadlineMs,
        onStreamEnd: (ending) => {
          if (ending.type !== 'broken' || !(ending.error instanceof BackendFailure)) return;
          log(ending.error);
          report(ending.error);
        },
      });
      permit.succeeded();
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

/** Refuses a body that is larger than this backend is sent, as the backend itself would: the request is at fault. */
function checkSize(backend: Backend, { text }: Call): void {
  const bytes = new TextEncoder().encode(text).length;
  if (bytes <= backend.max_request_bytes) return;
  throw new BackendFailure(backend.name, 'refused', `is not sent ${bytes} bytes`, {
    status: 413,
    detail: `The body is larger than the ${backend.max_request_bytes} bytes that '${backend.name}' is sent.`,
  });
}

/** Throws the signal's reason when it is aborted meanwhile. */
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
