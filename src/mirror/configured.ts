/** The mirror of the worker's variables, if there is to be one. */
import { logInfo } from '../log.ts';
import { SettingsError } from '../settings.ts';
import type { ConfiguredWeights } from '../weights/configured.ts';
import { Mirror } from './mirror.ts';
import { type MirrorVariables, readMirrorSettings } from './settings.ts';

/** Throws SettingsError when a variable is wrong, or when there is no store that can be written to. */
export function configuredMirror(variables: MirrorVariables, { writable }: ConfiguredWeights): Mirror | undefined {
  const settings = readMirrorSettings(variables);
  if (settings === undefined) return undefined;
  if (writable === undefined) {
    throw new SettingsError('HF_MIRROR_REPOS needs storage that can be written to: an R2 bucket or S3');
  }
  return new Mirror(settings, { store: writable, log: logInfo });
}
