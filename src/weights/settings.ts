/** The variables and secrets that say where weights are kept. docs/weights.md lists them. */
import * as z from 'zod';
import { parseSettings } from '../settings.ts';

/** Most S3-compatible storage has no regions, and takes this one. */
const DEFAULT_REGION = 'us-east-1';

const address = z
  .string()
  .refine(isPlainHttp, { error: 'must be an http or https URL without user, query and fragment' });

/** An empty variable counts as absent: `.dev.vars` and compose files pass unset variables as empty. */
const optional = <Schema extends z.ZodType>(schema: Schema) =>
  z.preprocess((value) => (value === '' ? undefined : value), schema.optional());

const variables = z.object({
  S3_ENDPOINT: optional(address),
  S3_BUCKET: optional(z.string().regex(/^[a-z0-9][\w.-]{1,253}$/i, 'must be the name of a bucket')),
  S3_REGION: optional(z.string()).transform((region) => region ?? DEFAULT_REGION),
  S3_ACCESS_KEY_ID: optional(z.string()),
  S3_SECRET_ACCESS_KEY: optional(z.string()),
  S3_SESSION_TOKEN: optional(z.string()),
  S3_PREFIX: optional(z.string().regex(/^([\w.-]+\/)+$/, 'must end in / and have letters, digits and . _ - between')),
  WEIGHTS_ORIGIN: optional(address),
  WEIGHTS_ORIGIN_TOKEN: optional(z.string()),
});

/** All variables that are read here. */
export const WEIGHT_SETTING_NAMES: readonly string[] = Object.keys(variables.shape);

/** The variable that each of the others depends on: without it they have no effect. */
const NEEDED = {
  S3_BUCKET: 'S3_ENDPOINT',
  S3_REGION: 'S3_ENDPOINT',
  S3_ACCESS_KEY_ID: 'S3_ENDPOINT',
  S3_SECRET_ACCESS_KEY: 'S3_ENDPOINT',
  S3_SESSION_TOKEN: 'S3_ENDPOINT',
  S3_PREFIX: 'S3_ENDPOINT',
  WEIGHTS_ORIGIN_TOKEN: 'WEIGHTS_ORIGIN',
} as const;

const schema = variables.superRefine((variables, context) => {
  for (const [name, needed] of Object.entries(NEEDED)) {
    const value = variables[name as keyof typeof NEEDED];
    if (value === undefined || value === DEFAULT_REGION || variables[needed] !== undefined) continue;
    context.addIssue({ code: 'custom', path: [name], message: `does nothing without ${needed}` });
  }
  if (variables.S3_ENDPOINT === undefined) return;
  for (const name of ['S3_ACCESS_KEY_ID', 'S3_SECRET_ACCESS_KEY'] as const) {
    if (variables[name] === undefined) context.addIssue({ code: 'custom', path: [name], message: 'is missing' });
  }
});

/** The variables by their names, all optional. */
export type WeightVariables = Partial<Record<keyof z.input<typeof schema>, unknown>>;

export interface WeightSettings {
  s3?: {
    endpoint: string;
    bucket: string | undefined;
    region: string;
    accessKeyId: string;
    secretAccessKey: string;
    sessionToken: string | undefined;
    prefix: string | undefined;
  };
  origin?: { baseUrl: string; token: string | undefined };
}

/** Throws SettingsError for the first variable that is wrong. */
export function readWeightSettings(variables: WeightVariables | Readonly<Record<string, unknown>>): WeightSettings {
  const data = parseSettings(schema, variables);
  return {
    ...(data.S3_ENDPOINT !== undefined && {
      s3: {
        endpoint: data.S3_ENDPOINT,
        bucket: data.S3_BUCKET,
        region: data.S3_REGION,
        accessKeyId: data.S3_ACCESS_KEY_ID!,
        secretAccessKey: data.S3_SECRET_ACCESS_KEY!,
        sessionToken: data.S3_SESSION_TOKEN,
        prefix: data.S3_PREFIX,
      },
    }),
    ...(data.WEIGHTS_ORIGIN !== undefined && {
      origin: { baseUrl: data.WEIGHTS_ORIGIN, token: data.WEIGHTS_ORIGIN_TOKEN },
    }),
  };
}

/** An address that only has a host and a folder, so that paths can be appended to it. */
export function isPlainHttp(text: string): boolean {
  const url = URL.parse(text);
  return url !== null && /^https?:$/.test(url.protocol) && !url.username && !url.password && !url.search && !url.hash;
}
