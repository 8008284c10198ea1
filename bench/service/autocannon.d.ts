/**
 * Types for the part of autocannon that is used here. It has no types of its own, and `bench/` installs it separately:
 * https://github.com/mcollina/autocannon
 */
declare module 'autocannon' {
  interface Options {
    url: string;
    connections: number;
    /** Seconds. */
    duration?: number;
    /** Requests, in place of a duration. */
    amount?: number;
    /** Timeout of a request in seconds. */
    timeout?: number;
    requests: { method: 'POST'; path: string; headers: Record<string, string>; body: string }[];
  }

  interface Histogram {
    average: number;
    p50: number;
    p99: number;
    max: number;
    total: number;
  }

  export interface Result {
    /** Seconds. */
    duration: number;
    errors: number;
    timeouts: number;
    /** Milliseconds. */
    latency: Histogram;
    requests: Histogram;
    statusCodeStats?: Record<string, { count: number }>;
  }

  interface Client {
    on(event: 'headers', listener: (headers: { statusCode: number; headers: string[] }) => void): void;
    on(event: 'body', listener: (body: Buffer) => void): void;
  }

  export interface Instance extends PromiseLike<Result> {
    on(
      event: 'response',
      listener: (client: Client, statusCode: number, bytes: number, milliseconds: number) => void,
    ): this;
    stop(): void;
  }

  export default function autocannon(options: Options & { setupClient?: (client: Client) => void }): Instance;
}
