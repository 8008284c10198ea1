/**
 * The backends of the variable `BACKENDS`: a JSON object of settings by name, as text or, from a table of
 * wrangler.toml, as an object.
 *
 *     {"mercury": {"base_url": "https://api.example/v1", "key": "MERCURY_KEY", "models": ["mercury-*"],
 *                  "default": true}}
 *
 * `key` names the binding that holds the secret, so that the variable itself can be read by anybody. docs/backends.md
 * lists all settings.
 */
import * as z from 'zod';

/** What clients can ask a backend for. */
export type Operation = 'completions' | 'fim' | 'chat' | 'edit' | 'apply';

/** Where each dialect answers an operation, under the base URL. What is missing is not offered. */
export const PATHS = {
  openai: { completions: '/completions', fim: '/completions', chat: '/chat/completions' },
  inception: {
    completions: '/fim/completions',
    fim: '/fim/completions',
    chat: '/chat/completions',
    edit: '/edit/completions',
    apply: '/apply/completions',
  },
} satisfies Record<string, Partial<Record<Operation, string>>>;

/** Routing uses this name to choose between the local model and a backend, so no model may have it. */
export const AUTO_MODEL = 'auto';

/** `retries` beyond this only prolong an outage. */
const MAX_RETRIES = 5;

const DAY_MS = 86_400_000;
const MEBIBYTE = 2 ** 20;

const milliseconds = (fallback: number) => z.int().min(1).max(DAY_MS).default(fallback);

const baseUrl = z.string().transform((text, context) => {
  const url = URL.parse(text);
  const isPlain = url !== null && /^https?:$/.test(url.protocol) && !url.username && !url.search && !url.hash;
  if (isPlain && !url.password) return url.href.replace(/\/+$/, '');
  context.addIssue({ code: 'custom', message: 'must be an http or https URL without user, query and fragment' });
  return z.NEVER;
});

const settings = z.strictObject({
  base_url: baseUrl,
  /** Name of the binding with the key; without it no authorization header is sent. */
  key: z.string().min(1).optional(),
  dialect: z.enum(['openai', 'inception']).default('openai'),
  /** Names, or patterns in which `*` matches any text. */
  models: z.array(z.string().min(1).max(256)).default([]),
  /** Further names, each with the name that the backend itself has for the model, often a path. */
  aliases: z.record(z.string().regex(/^[^*]+$/, 'an alias is a name, not a pattern'), z.string().min(1)).default({}),
  /** Asked for where the name in the request is not this backend's own; by default its first exact name. */
  default_model: z.string().min(1).optional(),
  /** Takes every request that no other backend takes. */
  default: z.boolean().default(false),
  /** Backends asked in turn when this one fails. */
  fallback: z.array(z.string()).default([]),
  retries: z.int().min(0).max(MAX_RETRIES).default(2),
  /** The wait before the first retry; doubles with each one. */
  retry_delay_ms: milliseconds(250),
  /**
   * Whether it reads the suffix of a completion request; requests that have one do not go to a backend that does not.
   */
  infill: z.boolean().default(true),
  /**
   * Time to the first text of a stream, or to the headers of a whole answer, which are sent when all of it is computed.
   */
  first_byte_timeout_ms: milliseconds(60_000),
  /** Time between two events of a stream, without comments and pings. */
  idle_timeout_ms: milliseconds(60_000),
  /** All that a request may spend on this backend: attempts, waits and the stream. */
  total_timeout_ms: milliseconds(300_000),
  /**
   * Silence in a stream after which the client gets a comment, so that proxies keep the connection open, and so that
   * the runtime notices a client that has disconnected, which it does when it writes.
   */
  keep_alive_ms: milliseconds(1_000),
  /** Failures in a row that open the circuit, and how long it then stays open. */
  breaker_failures: z.int().min(1).default(5),
  breaker_open_ms: milliseconds(30_000),
  max_request_bytes: z
    .int()
    .min(1)
    .default(4 * MEBIBYTE),
  max_response_bytes: z
    .int()
    .min(1)
    .default(16 * MEBIBYTE),
});

const named = z.record(
  z.string().regex(/^(?!local$)[a-z0-9][a-z0-9._-]*$/i, 'a name has letters, digits, ".", "_", "-" and is not "local"'),
  settings,
);

/** The settings of one backend, with its secret. */
export type Backend = Omit<z.output<typeof settings>, 'key'> & {
  name: string;
  /** Aliases included. */
  models: string[];
  key: string | undefined;
  paths: Partial<Record<Operation, string>>;
};

/** The variables cannot be used; each problem starts with the path of the setting and carries no value of it. */
export class BackendConfigError extends Error {
  override readonly name = 'BackendConfigError';
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(`the backends are misconfigured: ${problems.join('; ')}`);
    this.problems = problems;
  }
}

/**
 * Reads the variable; absent or blank means no backends.
 * @param bindings where the secrets are, by the names in `key`
 * @throws BackendConfigError with everything that is wrong.
 */
export function readBackends(variable: unknown, bindings: Readonly<Record<string, unknown>>): Backend[] {
  if (variable === undefined || (typeof variable === 'string' && variable.trim() === '')) return [];
  const result = named.safeParse(typeof variable === 'string' ? parsed(variable) : variable);
  if (!result.success) {
    throw new BackendConfigError(result.error.issues.map(problemOf));
  }
  const problems: string[] = [];
  const backends = Object.entries(result.data).map(([name, { key: binding, ...rest }]): Backend => {
    const secret = binding === undefined ? undefined : bindings[binding];
    if (binding !== undefined && (typeof secret !== 'string' || secret === '')) {
      problems.push(`BACKENDS.${name}.key: there is no secret named ${binding}`);
    }
    return {
      ...rest,
      name,
      models: [...rest.models, ...Object.keys(rest.aliases)],
      key: typeof secret === 'string' ? secret : undefined,
      paths: PATHS[rest.dialect],
    };
  });
  problems.push(...contradictions(backends));
  if (problems.length > 0) throw new BackendConfigError(problems);
  return backends;
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    throw new BackendConfigError(['BACKENDS: is not valid JSON']);
  }
}

function problemOf(issue: z.core.$ZodIssue): string {
  // Zod reports the fault in a name separately from the issue for the record.
  const { message } = (issue.code === 'invalid_key' && issue.issues[0]) || issue;
  return `${['BACKENDS', ...issue.path].join('.')}: ${message}`;
}

/** What no single setting shows. */
function contradictions(backends: readonly Backend[]): string[] {
  const problems: string[] = [];
  const names = new Set(backends.map(({ name }) => name));
  const ownerOf = new Map<string, string>();
  for (const { name, models, fallback } of backends) {
    for (const other of fallback) {
      if (other === name) problems.push(`BACKENDS.${name}.fallback: names itself`);
      else if (!names.has(other)) problems.push(`BACKENDS.${name}.fallback: there is no backend named ${other}`);
    }
    for (const model of models) {
      const owner = ownerOf.get(model);
      if (model === AUTO_MODEL)
        problems.push(`BACKENDS.${name}.models: ${AUTO_MODEL} is not a model but a way of routing`);
      if (owner !== undefined) problems.push(`BACKENDS.${name}.models: ${model} is already one of ${owner}`);
      ownerOf.set(model, name);
    }
  }
  const defaults = backends.filter((backend) => backend.default).map(({ name }) => name);
  if (defaults.length > 1)
    problems.push(`BACKENDS: only one backend can be the default, not ${defaults.join(' and ')}`);
  return problems;
}
