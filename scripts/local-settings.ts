/** The settings of the local runtime: wrangler.toml, and secrets from .dev.vars or other files. */
import { getPlatformProxy } from 'wrangler';
import { readMirrorSettings } from '../src/mirror/settings.ts';
import { readSettings, type Settings, type SettingsVariables } from '../src/settings.ts';
import { readWeightSettings } from '../src/weights/settings.ts';

/** Rejects with SettingsError. */
export async function readLocalSettings(configPath: string, envFiles: string[] | undefined): Promise<Settings> {
  const { env, dispose } = await getPlatformProxy<SettingsVariables>({
    configPath,
    persist: false,
    remoteBindings: false,
    ...(envFiles && { envFiles }),
  });
  try {
    readWeightSettings(env as Record<string, unknown>);
    readMirrorSettings(env as Record<string, unknown>);
    return readSettings(env);
  } finally {
    await dispose();
  }
}
