/** What is to be run, from options, files of settings and the environment: read at start, and again at each reload. */
import { access, readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { parseEnv } from 'node:util';
import { BACKEND_SETTING_NAMES, readGateway } from '../../src/backend/gateway.ts';
import { DEFAULT_PERIOD_SECONDS } from '../../src/middleware/rate-limit.ts';
import { MIRROR_SETTING_NAMES, readMirrorSettings } from '../../src/mirror/settings.ts';
import { readSettings, SETTING_NAMES, type Settings, SettingsError } from '../../src/settings.ts';
import { readWeightSettings, WEIGHT_SETTING_NAMES } from '../../src/weights/settings.ts';
import { readBundle } from './bundle.ts';
import type { Release } from './supervisor.ts';
import { secretNames, workerVariables } from './variables.ts';

const ALL_SETTING_NAMES: readonly string[] = [
  ...SETTING_NAMES,
  ...WEIGHT_SETTING_NAMES,
  ...MIRROR_SETTING_NAMES,
  ...BACKEND_SETTING_NAMES,
];

export interface ReleaseOptions {
  bundle: string;
  models: string;
  envFiles: readonly string[];
}

export interface ReadRelease {
  release: Release;
  settings: Settings;
  /** Whether `MODEL` is set; otherwise it is the default. */
  isModelNamed: boolean;
}

/** Throws Error, SettingsError and BackendConfigError among them, for what cannot be run. */
export async function readRelease({ bundle, models, envFiles }: ReleaseOptions): Promise<ReadRelease> {
  const environment = { ...(await readFiles(envFiles)), ...process.env };
  const variables = workerVariables(environment, ALL_SETTING_NAMES);
  readMirrorSettings(variables);
  readGateway(variables);
  const { s3, origin } = readWeightSettings(variables);
  const settings = readSettings(variables);
  const folder = resolve(models);
  if (!s3 && !origin) await access(folder);
  const { rateLimitRequests: requests, rateLimitPeriodSeconds: periodSeconds = DEFAULT_PERIOD_SECONDS } = settings;
  return {
    release: {
      bundle: await readBundle(resolve(bundle)),
      models: folder,
      variables,
      rateLimits: requests === undefined ? undefined : { requests, periodSeconds },
    },
    settings,
    isModelNamed: Boolean(environment.MODEL),
  };
}

/**
 * The settings of all files; later files take precedence. An unknown name is an error: it may be a mistyped `API_KEYS`.
 */
async function readFiles(paths: readonly string[]): Promise<Record<string, string | undefined>> {
  const files = await Promise.all(
    paths.map(async (path) => ({ path, values: parseEnv(await readFile(path, 'utf8')) })),
  );
  const all: Record<string, string | undefined> = Object.assign({}, ...files.map(({ values }) => values));
  const known = new Set([...ALL_SETTING_NAMES, ...secretNames(process.env.BACKENDS ?? all.BACKENDS)]);
  for (const { path, values } of files) {
    const unknown = Object.keys(values).find((name) => !known.has(name));
    if (unknown !== undefined) throw new SettingsError(`${unknown} in ${path} is no setting, and no backend's key`);
  }
  return all;
}
