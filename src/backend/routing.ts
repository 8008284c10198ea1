/** Which backends may answer a request, in which order, and why. */
import { AUTO_MODEL, type Backend, type Operation } from './config.ts';

/** Why a backend is asked: it has the model, it is the default, or the local model escalated. */
export type RouteReason = 'model' | 'default' | `escalated-${string}`;

export interface Route {
  reason: RouteReason;
  /** At least one; the later ones are asked when the earlier ones fail. */
  chain: readonly Target[];
}

export interface Target {
  backend: Backend;
  /** Path under the base URL. */
  path: string;
  /** The model as this backend is asked for it. */
  model: string;
}

export interface RouteRequest {
  operation: Operation;
  model: string;
  /** Names of the local models, which no backend knows. */
  localModels: readonly string[];
}

/** The route of a request; undefined when no backend has the model and the operation. */
export function routeOf(backends: readonly Backend[], request: RouteRequest): Route | undefined {
  const able = backends.filter(({ paths }) => paths[request.operation] !== undefined);
  const owner =
    able.find(({ models }) => models.some((name) => !isPattern(name) && name === request.model)) ??
    able.find(({ models }) => serves(models, request.model));
  const first = owner ?? able.find((backend) => backend.default);
  if (first === undefined) return undefined;
  const others = first.fallback.map((name) => able.find((backend) => backend.name === name));
  const chain = [first, ...others.filter((backend) => backend !== undefined)];
  return {
    reason: owner === undefined ? 'default' : 'model',
    chain: chain.map((backend) => ({
      backend,
      path: backend.paths[request.operation]!,
      model: ownName(backend, modelFor(backend, request, backend === first)),
    })),
  };
}

/** The names that clients can choose from; a pattern is no name. */
export function listedModels(backends: readonly Backend[]): { id: string; backend: string }[] {
  return backends.flatMap(({ name, models }) => exactNames(models).map((id) => ({ id, backend: name })));
}

/**
 * The first backend is asked for the exact name in the request, which it may know even if it is not configured; its
 * fallbacks are asked for a model of their own.
 */
function modelFor(backend: Backend, { model, localModels }: RouteRequest, isFirst: boolean): string {
  const isOurs = localModels.includes(model) || model === AUTO_MODEL;
  if (serves(backend.models, model) && !isOurs) return model;
  if (isFirst && !isOurs) return model;
  return backend.default_model ?? exactNames(backend.models)[0] ?? model;
}

function ownName({ aliases }: Backend, model: string): string {
  // A model may be named like a property that every object has.
  return Object.hasOwn(aliases, model) ? aliases[model]! : model;
}

function exactNames(models: readonly string[]): string[] {
  return models.filter((name) => !isPattern(name));
}

function serves(models: readonly string[], model: string): boolean {
  return models.some((pattern) => (isPattern(pattern) ? matches(pattern, model) : pattern === model));
}

function isPattern(name: string): boolean {
  return name.includes('*');
}

/** Matches piece by piece, in linear time; a regular expression of many `.*` would not be. */
function matches(pattern: string, model: string): boolean {
  const pieces = pattern.split('*');
  const first = pieces[0]!;
  const last = pieces.at(-1)!;
  if (!model.startsWith(first)) return false;
  let position = first.length;
  for (const piece of pieces.slice(1, -1)) {
    const found = model.indexOf(piece, position);
    if (found < 0) return false;
    position = found + piece.length;
  }
  return model.length - last.length >= position && model.endsWith(last);
}
