/**
 * What an operator configures: variables and secrets of the worker, as text, made into typed settings.
 * docs/operating.md lists them.
 */
import * as z from 'zod';
import { DEFAULT_MAX_WAITING } from './engine/admission-queue.ts';
import type { ApiKey } from './middleware/api-keys.ts';
import { DEFAULT_TIME_LIMIT_MS } from './middleware/time-limit.ts';

/** A longer time limit does not fit the timers of JavaScript. */
const MAX_TIME_LIMIT_MS = 2 ** 31 - 1;

/** A setting that cannot be used. The message names it and never its value, which can be a secret. */
export class SettingsError extends Error {
  override readonly name = 'SettingsError';
}

/** The entries of a setting that is a list: separated by commas, blanks or line ends. */
export function entriesOf(text: string): string[] {
  return text.split(/[\s,]+/).filter((entry) => entry !== '');
}

const list = z.string().default('').transform(entriesOf);

const wholeNumber = (max: number) =>
  z.coerce
    .number({ error: 'must be a number' })
    .int('must be a whole number')
    .min(1, 'must be at least 1')
    .max(max, `must be at most ${max}`);

/** An empty variable counts as absent: compose files pass unset variables as empty. */
const withoutEmpty = (value: unknown) => (value === '' ? undefined : value);
const count = (max = Number.MAX_SAFE_INTEGER) => z.preprocess(withoutEmpty, wholeNumber(max).optional());
const countOr = (byDefault: number, max = Number.MAX_SAFE_INTEGER) =>
  z.preprocess(withoutEmpty, wholeNumber(max).default(byDefault));

/** Longer periods do not fit the timers of JavaScript. */
const MAX_PERIOD_SECONDS = 24 * 24 * 3600;

const KEY_LINE = /^([\w.@-]{1,64}):([0-9a-f]{64})(:metrics)?$/i;

const keys = list.transform((lines, context): ApiKey[] =>
  lines.map((line, index) => {
    const [, name, hash, scope] = KEY_LINE.exec(line) ?? [];
    if (name !== undefined && hash !== undefined) {
      return { name, hash: fromHex(hash), ...(scope !== undefined && { scope: 'metrics' as const }) };
    }
    const message = `entry ${index + 1} is not NAME:SHA256 in hexadecimal digits, nor NAME:SHA256:metrics`;
    context.addIssue({ code: 'custom', message });
    return z.NEVER;
  }),
);

const origins = list.refine(
  (entries) => entries.every((entry) => entry === '*' || URL.parse(entry)?.origin === entry),
  {
    error: 'must hold origins such as https://editor.example, without a path, or *',
  },
);

/** Each a folder of the store, and one segment of a path. */
const modelNames = list
  .refine((names) => names.every((name) => /^\w[\w.-]*$/.test(name)), {
    error: 'must be the name of a folder, or several: letters, digits and . _ -',
  })
  .refine((names) => new Set(names).size === names.length, { error: 'must not name a model twice' });

const variables = z.object({
  MODEL: modelNames,
  API_KEYS: keys,
  ALLOWED_ORIGINS: origins,
  TIME_LIMIT_MS: countOr(DEFAULT_TIME_LIMIT_MS, MAX_TIME_LIMIT_MS),
  MAX_WAITING: countOr(DEFAULT_MAX_WAITING),
  RATE_LIMIT_REQUESTS: count(),
  RATE_LIMIT_PERIOD_SECONDS: count(MAX_PERIOD_SECONDS),
});

const schema = variables.refine(
  ({ RATE_LIMIT_REQUESTS, RATE_LIMIT_PERIOD_SECONDS }) =>
    RATE_LIMIT_REQUESTS !== undefined || RATE_LIMIT_PERIOD_SECONDS === undefined,
  { path: ['RATE_LIMIT_PERIOD_SECONDS'], error: 'does nothing without RATE_LIMIT_REQUESTS' },
);

/** All variables that are read here. */
export const SETTING_NAMES: readonly string[] = Object.keys(variables.shape);

/** The variables, by the names they have in wrangler.toml; all optional. */
export type SettingsVariables = { [Name in keyof z.input<typeof schema>]?: string | number | undefined };

export interface Settings {
  /** Folders of the models in the store; the first is the default. */
  models: readonly string[];
  /** None: open on loopback, closed elsewhere. */
  keys: readonly ApiKey[];
  origins: readonly string[];
  timeLimitMs: number;
  maxWaiting: number;
  rateLimitRequests: number | undefined;
  rateLimitPeriodSeconds: number | undefined;
}

/** The variables as a schema parses them. Throws SettingsError that names the first invalid one. */
export function parseSettings<Schema extends z.ZodType>(schema: Schema, variables: unknown): z.output<Schema> {
  const result = schema.safeParse(variables);
  if (result.success) return result.data;
  const { path, message } = result.error.issues[0]!;
  throw new SettingsError(`${String(path[0])} ${message}`);
}

/** Throws SettingsError for the first variable that is wrong. */
export function readSettings(variables: SettingsVariables): Settings {
  const data = parseSettings(schema, variables);
  return {
    models: data.MODEL,
    keys: data.API_KEYS,
    origins: data.ALLOWED_ORIGINS,
    timeLimitMs: data.TIME_LIMIT_MS,
    maxWaiting: data.MAX_WAITING,
    rateLimitRequests: data.RATE_LIMIT_REQUESTS,
    rateLimitPeriodSeconds: data.RATE_LIMIT_PERIOD_SECONDS,
  };
}

/** Throws SettingsError if a rate limit is set but nothing counts: a limit without effect is worse than none. */
export function requireLimiter(variables: SettingsVariables, limiter: unknown): void {
  if (limiter || readSettings(variables).rateLimitRequests === undefined) return;
  throw new SettingsError('RATE_LIMIT_REQUESTS does nothing without the binding RATE_LIMITER');
}

function fromHex(hex: string): Uint8Array {
  return Uint8Array.from(hex.match(/../g)!, (byte) => Number.parseInt(byte, 16));
}
