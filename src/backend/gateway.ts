/** All backends of the service as one object: their configuration, the routing and the forwarding. */
import { log } from '../log.ts';
import type { Call } from './attempt.ts';
import { type Backend, BackendConfigError, readBackends } from './config.ts';
import { Forwarder, type ForwardOptions, type ForwardOutcome } from './forward.ts';
import { listedModels, type Route, type RouteRequest, routeOf } from './routing.ts';

export interface Gateway {
  /** What is wrong with the configuration; then there are no backends. */
  readonly problems: readonly string[];
  /** Models of backends that have an exact name. */
  readonly models: readonly { id: string; backend: string }[];
  /** Mean log-probability (natural logarithm) under which a local answer to `model: "auto"` is left to a backend. */
  readonly minConfidence: number;
  /** The largest body that any backend is sent; 0 without backends. */
  readonly maxRequestBytes: number;
  route(request: RouteRequest): Route | undefined;
  forward(route: Route, call: Call, options: ForwardOptions): Promise<ForwardOutcome>;
}

interface GatewayOptions {
  problems?: readonly string[];
  minConfidence?: number;
  forwarder?: Forwarder;
}

/**
 * A mean token probability of e^-0.7, about one half: with less, each token of an answer is more likely wrong than
 * right.
 */
export const DEFAULT_MIN_CONFIDENCE = -0.7;

/** Makes the gateway of a list of backends. */
export function gatewayOf(
  backends: readonly Backend[],
  { problems = [], minConfidence = DEFAULT_MIN_CONFIDENCE, forwarder = new Forwarder() }: GatewayOptions = {},
): Gateway {
  return {
    problems,
    minConfidence,
    models: listedModels(backends),
    maxRequestBytes: Math.max(0, ...backends.map((backend) => backend.max_request_bytes)),
    route: (request) => routeOf(backends, request),
    forward: (route, call, options) => forwarder.forward(route, call, options),
  };
}

/** Names of the variables below. */
export const BACKENDS = 'BACKENDS';
export const AUTO_MIN_CONFIDENCE = 'AUTO_MIN_CONFIDENCE';

/** All variables that are read here; `BACKENDS` names further ones, its keys. */
export const BACKEND_SETTING_NAMES: readonly string[] = [BACKENDS, AUTO_MIN_CONFIDENCE];

/** The variables of the worker that configure backends, besides the secrets that `BACKENDS` names. */
export interface BackendBindings {
  /** JSON or an object, see config.ts. */
  BACKENDS?: unknown;
  /** A number of at most 0, see `Gateway.minConfidence`. */
  AUTO_MIN_CONFIDENCE?: string | number;
}

/** Makes the gateway of the worker's variables. Throws BackendConfigError, which names every mistake in them. */
export function readGateway(bindings: BackendBindings): Gateway {
  // Secrets are bindings like any other.
  const secrets = bindings as Readonly<Record<string, unknown>>;
  const minConfidence = readMinConfidence(bindings.AUTO_MIN_CONFIDENCE);
  const backends = readBackends(bindings.BACKENDS, secrets);
  if (backends.length === 0 && minConfidence !== DEFAULT_MIN_CONFIDENCE) {
    throw new BackendConfigError(['AUTO_MIN_CONFIDENCE: does nothing without BACKENDS']);
  }
  return gatewayOf(backends, { minConfidence });
}

/** The same where a mistake must not stop the local model: it is only noted. */
export function configuredGateway(bindings: BackendBindings): Gateway {
  try {
    return readGateway(bindings);
  } catch (error) {
    if (!(error instanceof BackendConfigError)) throw error;
    log('error', { message: error.message });
    return gatewayOf([], { problems: error.problems });
  }
}

function readMinConfidence(variable: string | number = ''): number {
  if (String(variable).trim() === '') return DEFAULT_MIN_CONFIDENCE;
  const value = Number(variable);
  if (value <= 0) return value;
  throw new BackendConfigError(['AUTO_MIN_CONFIDENCE: must be a number of at most 0, a mean log-probability']);
}
