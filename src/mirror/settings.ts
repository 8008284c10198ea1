/** The variables of the mirror. docs/weights.md lists them. */
import * as z from 'zod';
import { entriesOf, parseSettings } from '../settings.ts';
import { isPlainHttp } from '../weights/settings.ts';

const DEFAULT_UPSTREAM = 'https://huggingface.co';

/**
 * Branches of models move seldom; an hour later is early enough to notice, and saves the hub a request at each start.
 */
const DEFAULT_REFRESH_SECONDS = 3600;

const variables = z.object({
  HF_MIRROR_REPOS: z
    .string()
    .default('')
    .transform(entriesOf)
    .refine((entries) => entries.every((entry) => /^[\w.-]*(\/[\w.-]*)?\*?$/.test(entry)), {
      error: 'must hold repositories such as Qwen/Qwen3-0.6B, Qwen/* or *',
    }),
  HF_MIRROR_UPSTREAM: z
    .preprocess((value) => value || undefined, z.string().default(DEFAULT_UPSTREAM))
    .refine(isPlainHttp, { error: 'must be an http or https URL without user, query and fragment' })
    .transform((url) => url.replace(/\/+$/, '')),
  HF_MIRROR_TOKEN: z.preprocess((value) => value || undefined, z.string().optional()),
  HF_MIRROR_REFRESH_SECONDS: z.preprocess(
    (value) => (value === '' ? undefined : value),
    z.coerce.number({ error: 'must be a number' }).min(0, 'must be at least 0').default(DEFAULT_REFRESH_SECONDS),
  ),
});

/** Without mirrored repositories the other settings have no effect, and are refused. */
const schema = variables.superRefine(({ HF_MIRROR_REPOS, ...others }, context) => {
  if (HF_MIRROR_REPOS.length > 0) return;
  const isSet: Readonly<Record<keyof typeof others, boolean>> = {
    HF_MIRROR_UPSTREAM: others.HF_MIRROR_UPSTREAM !== DEFAULT_UPSTREAM,
    HF_MIRROR_TOKEN: others.HF_MIRROR_TOKEN !== undefined,
    HF_MIRROR_REFRESH_SECONDS: others.HF_MIRROR_REFRESH_SECONDS !== DEFAULT_REFRESH_SECONDS,
  };
  for (const [name, value] of Object.entries(isSet)) {
    if (value) context.addIssue({ code: 'custom', path: [name], message: 'does nothing without HF_MIRROR_REPOS' });
  }
});

/** All variables that are read here. */
export const MIRROR_SETTING_NAMES: readonly string[] = Object.keys(variables.shape);

export type MirrorVariables = Partial<Record<keyof z.input<typeof schema>, unknown>>;

export interface MirrorSettings {
  /** Names or patterns of mirrored repositories. */
  repos: readonly string[];
  url: string;
  token: string | undefined;
  refreshMs: number;
}

/** Undefined without a mirror. Throws SettingsError for the first invalid variable. */
export function readMirrorSettings(
  variables: MirrorVariables | Readonly<Record<string, unknown>>,
): MirrorSettings | undefined {
  const data = parseSettings(schema, variables);
  if (data.HF_MIRROR_REPOS.length === 0) return undefined;
  return {
    repos: data.HF_MIRROR_REPOS,
    url: data.HF_MIRROR_UPSTREAM,
    token: data.HF_MIRROR_TOKEN,
    refreshMs: data.HF_MIRROR_REFRESH_SECONDS * 1000,
  };
}
