/** The settings of the local runtime: wrangler.toml, and secrets from .dev.vars or other files. */
import { access, constants } from 'node:fs/promises';
import { getPlatformProxy } from 'wrangler';
import { type BackendBindings, readGateway } from '../src/backend/gateway.ts';
import { readMirrorSettings } from '../src/mirror/settings.ts';
import { readSettings, requireLimiter, type Settings, SettingsError, type SettingsVariables } from '../src/settings.ts';
import { readWeightSettings } from '../src/weights/settings.ts';

export interface LocalSettings {
  settings: Settings;
  /** Whether weights can come from another place than the local bucket. */
  hasOtherStore: boolean;
}

/**
 * Rejects with SettingsError, BackendConfigError, and for a file that cannot be read: wrangler passes over one that is
 * missing, keys and all.
 * @param model replaces the variable `MODEL`
 */
export async function readLocalSettings(
  configPath: string,
  envFiles: string[] | undefined,
  model?: string,
): Promise<LocalSettings> {
  for (const file of envFiles ?? []) await access(file, constants.R_OK);
  const { env: configured, dispose } = await getPlatformProxy<
    SettingsVariables & BackendBindings & { RATE_LIMITER?: unknown }
  >({
    configPath,
    persist: false,
    remoteBindings: false,
    ...(envFiles && { envFiles }),
  });
  const env = { ...configured, ...(model !== undefined && { MODEL: model }) };
  try {
    const { s3, origin } = readWeightSettings(env as Record<string, unknown>);
    readMirrorSettings(env as Record<string, unknown>);
    readGateway(env);
    const settings = readSettings(env);
    requireLimiter(env, env.RATE_LIMITER);
    if (settings.models.length === 0) throw new SettingsError('MODEL is missing');
    return { settings, hasOtherStore: s3 !== undefined || origin !== undefined };
  } finally {
    await dispose();
  }
}
